/** The session of an upload to S3: what goes in comes out, it stays small, and nothing else is taken for one. */
import { randomBytes, randomUUID } from 'node:crypto';
import * as assert from 'uvu/assert';
import { digestOf } from '../../lib/oci/digest.js';
import { MAX_PARTS, readSession, sizeOf, type Upload, writeSession } from '../../storage-proxy/engines/s3/session.js';
import { rejects } from '../support/rejects.js';
import { suite } from '../support/suite.js';

const test = suite('S3 sessions');
const MIB = 1024 * 1024;
const name = () => randomBytes(6).toString('hex');
const parts = (count: number) =>
  Array.from({ length: count }, () => ({ etag: randomBytes(16).toString('hex'), size: 8 * MIB }));

const empty: Upload = {
  id: randomUUID(),
  algorithm: 'sha256',
  digest: undefined,
  marked: true,
  stored: undefined,
  direct: undefined,
  sealed: [],
  open: undefined,
  loose: [],
};

test('5 TiB fit into 64 KiB', () => {
  const sealed = Array.from({ length: 1_311 }, () => ({ name: name(), length: MAX_PARTS * 8 * MIB, whole: true }));
  const open = { name: name(), uploadId: `2~${randomBytes(24).toString('base64url')}`, parts: parts(MAX_PARTS) };
  const direct = { uploadId: randomBytes(96).toString('base64url'), parts: parts(MAX_PARTS) };
  const upload: Upload = { ...empty, digest: digestOf(Buffer.from('x')), direct, sealed, open };
  const session = writeSession(upload);
  assert.equal(readSession(session), upload);
  assert.ok(sizeOf(upload) > 5 * 1024 ** 4);
  assert.ok(session.length < 64 * 1024 - 9, `${session.length} bytes`);
});

test('entity tags of any kind, pieces that are not whole, what is stored already', () => {
  const upload: Upload = {
    ...empty,
    sealed: [{ name: name(), length: 9 * MIB, whole: false }],
    open: { name: name(), uploadId: 'u', parts: [{ etag: 'abc-def"2', size: 5 }, ...parts(1)] },
    loose: [{ name: name(), length: 7, whole: true }],
  };
  assert.equal(readSession(writeSession(upload)), upload);
  const stored: Upload = { ...empty, marked: false, stored: 17 };
  assert.equal(readSession(writeSession(stored)), stored);
});

test('nothing else is taken for one', async () => {
  const session = writeSession(empty).toString();
  const wrong = [
    '',
    'null',
    '[]',
    '{}',
    '{"kind":"upload","id":"../x"}',
    session.replace(empty.id, '../../x'),
    session.slice(1),
  ];
  for (const text of wrong) await rejects('MALFORMED', async () => readSession(Buffer.from(text)));
  const path = JSON.parse(session) as unknown[];
  path[9] = '../../../x:5';
  await rejects('MALFORMED', async () => readSession(Buffer.from(JSON.stringify(path))));
});

test.run();
