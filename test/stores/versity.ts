/** Versity's S3 gateway over a folder: a third dialect, if somebody has built it (see test/support/needs.ts). */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, startDaemon } from '../support/daemon.js';
import { freePort } from '../support/ports.js';
import { temporaryFolder } from '../support/tmp.js';
import type { S3Server } from './store.js';

export const VERSITY_NEEDS = ['versitygw'];

export async function startVersity(): Promise<S3Server> {
  const folder = await temporaryFolder('versity');
  const [root, sidecar] = [join(folder, 'root'), join(folder, 'sidecar')];
  for (const each of [root, sidecar]) await mkdir(each);
  const port = await freePort();
  const keys = { accessKey: 'entrepottest', secretKey: 'entrepottestsecret' };
  const front = await startDaemon(
    'versitygw',
    [
      ...['--access', keys.accessKey, '--secret', keys.secretKey, '--port', `127.0.0.1:${port}`, '--quiet'],
      ...['posix', '--sidecar', sidecar, root],
    ],
    () => answers(`http://127.0.0.1:${port}/`),
  );
  return { name: 'Versity', host: '127.0.0.1', port, ...keys, front, hidesUnknownKeys: true };
}
