/** The same contract over the gRPC client, in front of a real storage-proxy. */

import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { contentOf, memoryOf, openFilesOf } from '../support/folder.js';
import { storeAt } from '../support/one-node.js';
import { freePort } from '../support/ports.js';
import { startProxy } from '../support/storage-proxy.js';
import { temporaryFolder } from '../support/tmp.js';
import { contract } from './contract.js';

contract('LocalStorage over gRPC', async () => {
  const folder = await temporaryFolder('proxy');
  const port = await freePort();
  let proxy = await startProxy({ folder, port });
  const stub = new StorageStub(...Security.local.dial(proxy.address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  return {
    store: storeAt(stub),
    leftovers: () => contentOf(folder),
    crash: async () => {
      proxy.kill('SIGKILL');
      await proxy.exited;
      proxy = await startProxy({ folder, port });
      await new Promise<void>((resolve, reject) =>
        stub.waitForReady(Date.now() + 10_000, error => (error ? reject(error) : resolve())),
      );
    },
    openFiles: () => openFilesOf(proxy.pid, folder),
    memory: () => memoryOf(proxy.pid),
    close: async () => {
      stub.close();
      await proxy.stop();
    },
  };
});
