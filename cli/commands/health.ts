/** `entrepot health`: whether a process of this machine can do its work, for the health checks of what runs it. */
import { formatAddress } from '../../lib/config/address.js';
import type { Address, Config } from '../../lib/config/config.js';
import { loadConfig } from '../../lib/config/load.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { Security, type ServerRole } from '../../lib/rpc/security.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { CONFIG_OPTION, type Command, textOf, UsageError } from '../command.js';

const TIMEOUT_MS = 5_000;

const ROLES = ['gateway', 'storage-proxy', 'worker'] as const;

/** What a server has to serve to be well. */
const SERVICES: Readonly<Record<ServerRole, readonly string[]>> = {
  'storage-proxy': ['entrepot.storage.read', 'entrepot.storage.write'],
  worker: [''],
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
  async run(given) {
    const role = ROLES.find(known => known === given.operand);
    if (!role) throw new UsageError(`there is no role ${given.operand}; it is one of ${ROLES.join(', ')}`);
    const file = textOf(given, 'config');
    const config = loadConfig({ role, file, env: process.env });
    const address = formatAddress(reachable(listenOf(role, config)));
    const isWell = role === 'gateway' ? await asksHttp(address) : await asksGrpc(address, role, config);
    if (isWell) return 0;
    console.error(`the ${role} at ${address} cannot do its work now, or does not run: see its log`);
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

async function asksHttp(address: string): Promise<boolean> {
  try {
    const answer = await fetch(`http://${address}/health/instance`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}

async function asksGrpc(address: string, role: ServerRole, config: Config): Promise<boolean> {
  const security = Security.open(config.grpc, createLogger({ name: 'health', level: 'error' }));
  try {
    const asked = SERVICES[role].map(service =>
      checkHealth(address, service, TIMEOUT_MS, { security, role, ownHost: true }),
    );
    return (await Promise.all(asked)).every(Boolean);
  } finally {
    await security.close();
  }
}
