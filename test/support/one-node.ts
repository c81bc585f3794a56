/** The storage contract over one node, without anything that chooses or watches nodes. */
import { RemoteStore } from '../../lib/locations/store.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { MAX_APPEND_BYTES } from '../../storage-proxy/service/uploads.js';

export function storeAt(stub: StorageClient): RemoteStore {
  return new RemoteStore({
    anyNode: (_need, operation) => operation(stub),
    oneNode: (_need, operation) => operation(stub, MAX_APPEND_BYTES),
    stream: operation => operation(stub, () => {}),
  });
}
