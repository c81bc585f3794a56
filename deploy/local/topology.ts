/** What the local stack consists of: two regions, each with a storage-proxy, a worker and a gateway. */
import { checkHealth } from '../../lib/rpc/health.js';

export type Kind = 'storage-proxy' | 'worker' | 'gateway';

/** The order of starting; stopping goes the other way. */
export const kinds: readonly Kind[] = ['storage-proxy', 'worker', 'gateway'];

/** Every listener has a name; for a process of ours, that is also the process's. */
export const portNames = [
  'gateway-us',
  'gateway-eu',
  'storage-proxy-us',
  'storage-proxy-eu',
  'worker-us',
  'worker-eu',
  'postgres',
] as const;
export type PortName = (typeof portNames)[number];
export type Ports = Readonly<Record<PortName, number>>;

export const defaultPorts: Ports = {
  'gateway-us': 8080,
  'gateway-eu': 8081,
  'storage-proxy-us': 7071,
  'storage-proxy-eu': 7072,
  'worker-us': 7091,
  'worker-eu': 7092,
  postgres: 5439,
};

export interface Region {
  readonly name: 'us' | 'eu';
  readonly location: string;
}

export const regions: readonly Region[] = [
  { name: 'us', location: 'usstorage' },
  { name: 'eu', location: 'eustorage' },
];

/** One process of ours. */
export interface Part {
  readonly name: PortName;
  readonly kind: Kind;
  /** Its compiled file below `dist/`. */
  readonly script: string;
  /** `host:port` where it listens. */
  readonly address: string;
  /** What sets it apart from the others of its kind; the rest is in config.yaml. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether it can do its work now; never rejects. */
  isHealthy(): Promise<boolean>;
}

const HEALTH_TIMEOUT_MS = 2_000;

/** The parts of one kind. */
export function partsOf(kind: Kind, ports: Ports): Part[] {
  return regions.map(region => {
    const name = `${kind}-${region.name}` as const;
    const address = `127.0.0.1:${ports[name]}`;
    const listenKey = `ENTREPOT_${kind.toUpperCase().replace('-', '_')}_LISTEN`;
    return {
      name,
      kind,
      script: `${kind}/main.js`,
      address,
      env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: region.location, [listenKey]: address },
      isHealthy: healthCheck(kind, address),
    };
  });
}

function healthCheck(kind: Kind, address: string): () => Promise<boolean> {
  if (kind === 'gateway') return () => answersHttp(`http://${address}/health/instance`);
  const services = kind === 'worker' ? [''] : ['entrepot.storage.read', 'entrepot.storage.write'];
  return async () => {
    const answers = await Promise.all(services.map(service => checkHealth(address, service, HEALTH_TIMEOUT_MS)));
    return answers.every(Boolean);
  };
}

async function answersHttp(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}
