/** Starts a real storage-proxy on a folder. */
import { checkHealth } from '../../lib/rpc/health.js';
import { freePort } from './ports.js';
import { type StartedProcess, startProcess } from './process.js';

export interface ProxyOptions {
  readonly folder: string;
  /** Default: a free one. */
  readonly port?: number;
  /** False: do not wait until its store can be written to, only until it listens. */
  readonly untilWritable?: boolean;
}

export type StorageProxy = StartedProcess & { readonly address: string };

/** A node of the location `usstorage`. */
export async function startProxy(options: ProxyOptions): Promise<StorageProxy> {
  const port = options.port ?? (await freePort());
  const address = `127.0.0.1:${port}`;
  const started = await startProcess({
    script: 'storage-proxy/main.js',
    config: {
      DISTRIBUTED_STORAGE_CONFIG: { usstorage: ['LocalStorage', { storage_path: options.folder }] },
      DISTRIBUTED_STORAGE_PREFERENCE: ['usstorage'],
      ENTREPOT_STORAGE_PROXY_LISTEN: address,
    },
    ready: async process =>
      options.untilWritable === false
        ? process.log().includes('listening')
        : checkHealth(address, 'entrepot.storage.write', 500),
  });
  return Object.assign(started, { address });
}
