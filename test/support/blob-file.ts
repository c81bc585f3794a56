/** Where a store on a disk (LocalStorage, in Quay's layout) keeps a blob. */
import { join } from 'node:path';

export function blobFile(folder: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':');
  return join(folder, algorithm, hex.slice(0, 2), hex);
}
