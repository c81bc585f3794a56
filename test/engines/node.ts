/** Starts a real storage-proxy on a bucket. */
import { checkHealth } from '../../lib/rpc/health.js';
import { radosArguments, type TestBucket } from '../stores/store.js';
import { freePort } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';

export interface NodeOptions {
  readonly bucket: TestBucket;
  readonly port?: number;
  /** Instead of what leads to the bucket. */
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether to wait until it can be written to; default true. */
  readonly untilWritable?: boolean;
}

/** A node of the location `usstorage` on a port of its own. */
export async function startNode(options: NodeOptions): Promise<StartedProcess & { readonly address: string }> {
  const port = options.port ?? (await freePort());
  const address = `127.0.0.1:${port}`;
  const started = await startProcess({
    script: 'storage-proxy/main.js',
    config: {
      DISTRIBUTED_STORAGE_CONFIG: {
        usstorage: ['RadosGWStorage', { ...radosArguments(options.bucket), ...options.arguments }],
      },
      DISTRIBUTED_STORAGE_PREFERENCE: ['usstorage'],
      ENTREPOT_STORAGE_PROXY_LISTEN: address,
    },
    env: options.env ?? {},
    ready: async process =>
      options.untilWritable === false
        ? process.log().includes('listening')
        : checkHealth(address, 'entrepot.storage.write', 500),
  });
  return Object.assign(started, { address });
}
