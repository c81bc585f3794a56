/** The contract over an S3 server: over the engine itself, and over gRPC in front of a real storage-proxy. */

import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { createEngine } from '../../storage-proxy/engines/registry.js';
import { contract, type OpenStore } from '../contract/contract.js';
import { waitingReads } from '../stores/sockets.js';
import { makeBucket, radosArguments, type S3Server } from '../stores/store.js';
import { memoryOf } from '../support/folder.js';
import { storeAt } from '../support/one-node.js';
import { freePort } from '../support/ports.js';
import { startNode } from './node.js';

/** A store needs longer for the whole of it than a folder does. */
export const contractOptions = (needs: readonly string[]) => ({ needs, timeoutMs: 120_000, fileTimeoutMs: 900_000 });

export async function openEngine(server: S3Server): Promise<OpenStore> {
  const bucket = await makeBucket(server);
  const open = () => createEngine({ name: 'usstorage', driver: 'RadosGWStorage', arguments: radosArguments(bucket) });
  let store = open();
  await store.probe();
  return {
    get store() {
      return store;
    },
    leftovers: () => bucket.content(),
    // As near as one process comes to it: an engine that remembers nothing, over what the first one left behind.
    crash: async () => {
      store = open();
    },
    openFiles: () => waitingReads('self', server.port),
    memory: () => memoryOf('self'),
    close: async () => bucket.client.destroy(),
  };
}

export async function openRemote(server: S3Server): Promise<OpenStore> {
  const bucket = await makeBucket(server);
  const port = await freePort();
  let node = await startNode({ bucket, port });
  const stub = new StorageStub(...Security.local.dial(node.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  return {
    store: storeAt(stub),
    leftovers: () => bucket.content(),
    crash: async () => {
      node.kill('SIGKILL');
      await node.exited;
      // What it had sent in full still arrives, and here at a server that forgets to look whether its upload lives.
      await server.quiet?.();
      node = await startNode({ bucket, port });
      await new Promise<void>((resolve, reject) =>
        stub.waitForReady(Date.now() + 10_000, error => (error ? reject(error) : resolve())),
      );
    },
    openFiles: () => waitingReads(node.pid, server.port),
    memory: () => memoryOf(node.pid),
    close: async () => {
      stub.close();
      await node.stop();
      bucket.client.destroy();
    },
  };
}

export { contract };
