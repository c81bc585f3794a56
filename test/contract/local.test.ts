/** The contract over LocalStorage itself. */
import { LocalStorage } from '../../storage-proxy/engines/local.js';
import { contentOf, memoryOf, openFilesOf } from '../support/folder.js';
import { temporaryFolder } from '../support/tmp.js';
import { contract } from './contract.js';

contract('LocalStorage', async () => {
  const root = await temporaryFolder('local');
  let store = new LocalStorage({ storage_path: root });
  await store.probe();
  return {
    get store() {
      return store;
    },
    leftovers: () => contentOf(root),
    // As near as one process comes to it: an engine that remembers nothing, over what the first one left behind.
    crash: async () => {
      store = new LocalStorage({ storage_path: root });
    },
    openFiles: () => openFilesOf('self', root),
    memory: () => memoryOf('self'),
    close: async () => {},
  };
});
