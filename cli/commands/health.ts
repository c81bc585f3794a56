/** `entrepot health`: whether a process of this machine can do its work, for the health checks of what runs it. */
import { formatAddress } from '../../lib/config/address.js';
import type { Address, Config } from '../../lib/config/config.js';
import { loadConfig } from '../../lib/config/load.js';
import { askHealthAt } from '../../lib/rpc/health.js';
import { Security, type ServerRole } from '../../lib/rpc/security.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { CONFIG_OPTION, type Command, textOf, UsageError } from '../command.js';
import { reasonOf } from '../output/reason.js';

const TIMEOUT_MS = 5_000;

const ROLES = ['gateway', 'storage-proxy', 'worker'] as const;

/** The key that says where each listens. */
const LISTEN = {
  gateway: 'ENTREPOT_GATEWAY_LISTEN',
  'storage-proxy': 'ENTREPOT_STORAGE_PROXY_LISTEN',
  worker: 'ENTREPOT_WORKER_LISTEN',
} as const;

/** What a server has to serve to be well, and what it cannot do if it does not. */
const SERVICES: Readonly<Record<ServerRole, readonly (readonly [service: string, need: string])[]>> = {
  'storage-proxy': [
    ['entrepot.storage.read', 'reading'],
    ['entrepot.storage.write', 'writing'],
  ],
  worker: [['', 'anything']],
};

export const health: Command = {
  name: 'health',
  summary: 'Ask a process on this machine whether it can do its work.',
  description: [
    'ROLE is gateway, storage-proxy or worker. Run it with the configuration and the environment of the',
    'process: it asks at the address where that one listens, and shows the same certificate.',
    'Exit status: 0 it can, 1 it cannot or there is none, 2 the command was called wrongly.',
  ].join('\n'),
  options: CONFIG_OPTION,
  operand: 'ROLE',
  async run(given, { env, stderr }) {
    const role = ROLES.find(known => known === given.operand);
    if (!role) throw new UsageError(`there is no role ${given.operand}; it is one of ${ROLES.join(', ')}`);
    const file = textOf(given, 'config');
    const config = loadConfig({ role, file, env });
    const address = formatAddress(reachable(listenOf(role, config)));
    try {
      const failing = role === 'gateway' ? await askHttp(address) : await askGrpc(address, role, config);
      if (failing.length === 0) return 0;
      stderr.write(`the ${role} at ${address} cannot do its work now (${failing.join(', ')}): see its log\n`);
    } catch (error) {
      const hint = `does it run, and listen there (${LISTEN[role]})?`;
      stderr.write(`the ${role} at ${address} does not answer: ${reasonOf(error)}; ${hint}\n`);
    }
    return 1;
  },
};

function listenOf(role: (typeof ROLES)[number], config: Config): Address {
  if (role === 'gateway') return config.gatewayListen;
  return role === 'worker' ? config.workerListen : config.storageProxyListen;
}

/** An address to call for one to listen on. */
function reachable({ host, port }: Address): Address {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  return host === '::' ? { host: '::1', port } : { host, port };
}

/** What a gateway says that it lacks. Throws if it does not answer. */
async function askHttp(address: string): Promise<string[]> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetch(`http://${address}/health/instance`, { signal }).catch(error => {
    // Only the cause says what it was.
    throw error instanceof TypeError ? (error.cause ?? error) : error;
  });
  const body: unknown = await answer.json().catch(() => undefined);
  return answer.ok ? [] : failingOf(body);
}

function failingOf(body: unknown): string[] {
  const services = inside(inside(body, 'data'), 'services');
  const failing = Object.entries(services ?? {}).flatMap(([name, well]) => (well === false ? [name] : []));
  return failing.length > 0 ? failing : ['gateway'];
}

function inside(value: unknown, key: string): object | undefined {
  const found: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return typeof found === 'object' && found !== null ? found : undefined;
}

/** What a server says that it cannot do. Throws if it does not answer. */
async function askGrpc(address: string, role: ServerRole, config: Config): Promise<string[]> {
  const security = Security.open(config.grpc, createLogger({ name: 'health', level: 'error' }));
  try {
    const asked = SERVICES[role].map(async ([service, need]) =>
      (await askHealthAt(address, service, TIMEOUT_MS, { security, role, ownHost: true })) ? [] : [need],
    );
    return (await Promise.all(asked)).flat();
  } finally {
    await security.close();
  }
}
