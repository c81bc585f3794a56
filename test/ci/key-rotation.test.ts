/** The keys of tokens are changed in time, and of use while PostgreSQL is away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeProtectedHeader } from 'jose';
import * as assert from 'uvu/assert';
import { type KeyPeriods, KeyRing } from '../../gateway/auth/key-ring.js';
import { Scope } from '../../gateway/auth/scope.js';
import { Seal } from '../../gateway/auth/sealed.js';
import { Tokens } from '../../gateway/auth/tokens.js';
import { DatabaseUnavailable } from '../../lib/metadata/database.js';
import { SigningKeys } from '../../lib/metadata/signing-keys.js';
import { freshMetadata, type Metadata, quiet } from '../support/clients.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('key rotation');
let m: Metadata;

test.before.each(async () => {
  m = await freshMetadata();
});

async function open(secret = 'the secret of all', periods?: KeyPeriods, keys = new SigningKeys(m.db)) {
  const ring = new KeyRing({ keys, seal: new Seal(secret, 'test'), log: quiet, ...(periods ? { periods } : {}) });
  await ring.open();
  atEnd(() => ring.close());
  return { ring, tokens: new Tokens(ring, 'registry') };
}

const claims = { name: 'alice', scope: Scope.of([]) };
const kidOf = (token: string) => decodeProtectedHeader(token).kid;
const rows = () => m.db.query('select * from signingkey order by signs_from');

test('a successor is there before the key ends, and what the old one signed is good on', async () => {
  const periods = { signs: 3, overlap: 2, verifies: 60, refresh: 0.1 };
  const [one, two] = [await open(undefined, periods), await open(undefined, periods)];
  const first = await one.tokens.issue(claims);
  const kids = new Set([kidOf(first)]);
  for (let n = 0; n < 100 && kids.size < 3; n++) {
    await sleep(100);
    const token = await (n % 2 === 0 ? one : two).tokens.issue(claims);
    kids.add(kidOf(token));
    for (const { tokens } of [one, two]) assert.is((await tokens.verify(token)).name, 'alice');
  }
  assert.ok(kids.size >= 3, 'two successors have signed');
  assert.is((await new Tokens(two.ring, 'registry').verify(first)).name, 'alice');
  const found = await rows();
  for (let n = 1; n < found.length; n++) {
    assert.ok(Number(found[n]?.created) < Number(found[n - 1]?.signs_until), 'made before the last one ended');
    const gap = Number(found[n]?.signs_from) - Number(found[n - 1]?.signs_until);
    assert.ok(gap >= 0, `it begins when the last one ends: ${gap} ms`);
  }
});

test('while the database is away: the keys that are here sign and verify; one that is not is no fault of the client', async () => {
  const keys = new SigningKeys(m.db);
  let away = false;
  const list = keys.list.bind(keys);
  keys.list = () => (away ? Promise.reject(new DatabaseUnavailable('away')) : list());
  const { tokens } = await open(undefined, { signs: 1, overlap: 0, verifies: 60, refresh: 0.1 }, keys);
  away = true;
  await sleep(2_200);
  const token = await tokens.issue(claims);
  assert.is((await tokens.verify(token)).name, 'alice');
  const unknown = `${Buffer.from('{"alg":"ES256","kid":"new"}').toString('base64url')}.e30.AA`;
  const why = await tokens.verify(unknown).catch(error => error);
  assert.instance(why, DatabaseUnavailable);
});

test.run();
