/** The keys of tokens: shared by all gateways, and what they are good for. See test/ci/key-rotation.test.ts for what takes time. */
import { decodeProtectedHeader } from 'jose';
import * as assert from 'uvu/assert';
import { KeyRing } from '../../gateway/auth/key-ring.js';
import { Scope } from '../../gateway/auth/scope.js';
import { Seal } from '../../gateway/auth/sealed.js';
import { TokenInvalid, Tokens } from '../../gateway/auth/tokens.js';
import { SigningKeys } from '../../lib/metadata/signing-keys.js';
import { noRights } from '../../lib/users/rights.js';
import { freshMetadata, type Metadata, quiet } from '../support/clients.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('gateway key ring');
let m: Metadata;

test.before.each(async () => {
  m = await freshMetadata();
});

async function open(secret = 'the secret of all') {
  const ring = new KeyRing({ keys: new SigningKeys(m.db), seal: new Seal(secret, 'test'), log: quiet });
  await ring.open();
  atEnd(() => ring.close());
  return { ring, tokens: new Tokens(ring, 'registry') };
}

const claims = { name: 'alice', scope: Scope.of([]) };
const kidOf = (token: string) => decodeProtectedHeader(token).kid;
const rows = () => m.db.query('select * from signingkey order by signs_from');

test('many gateways that start at once make one key, and accept each other’s tokens', async () => {
  const gateways = await Promise.all(Array.from({ length: 5 }, () => open()));
  assert.is((await rows()).length, 1);
  for (const { tokens } of gateways) {
    const token = await tokens.issue(claims);
    for (const other of gateways) assert.is((await other.tokens.verify(token)).name, 'alice');
  }
  const [row] = await rows();
  assert.not.match(JSON.stringify(row?.public_key), '"d"');
  assert.instance(row?.private_key, Buffer);
});

test('the private half goes when it no longer signs, the public half when it no longer verifies', async () => {
  const { tokens } = await open();
  const token = await tokens.issue(claims);
  await m.db.query(
    "update signingkey set signs_from = now() - interval '9 days', signs_until = now() - interval '2 days'",
  );
  await open();
  const [old, successor] = await rows();
  assert.is(old?.private_key, null);
  assert.ok(successor?.private_key);
  const third = await open();
  assert.is((await third.tokens.verify(token)).name, 'alice');
  assert.is.not(kidOf(await third.tokens.issue(claims)), kidOf(token));
  await m.db.query('update signingkey set verifies_until = now() where kid = $1', [kidOf(token)]);
  const why = await (await open()).tokens.verify(token).catch(error => error);
  assert.instance(why, TokenInvalid);
});

test('gateways with different secrets that start at once each have a key', async () => {
  const secrets = Array.from({ length: 8 }, (_, number) => `secret ${number}`);
  const gateways = await Promise.all(secrets.map(secret => open(secret)));
  const kids = await Promise.all(gateways.map(async ({ tokens }) => kidOf(await tokens.issue(claims))));
  assert.is(new Set(kids).size, 8);
  assert.is((await rows()).length, 8);
});

test('a gateway with another secret signs with a key of its own; each accepts the other’s tokens', async () => {
  const [one, two] = [await open('secret one'), await open('secret two')];
  const [a, b] = [await one.tokens.issue(claims), await two.tokens.issue(claims)];
  assert.is.not(kidOf(a), kidOf(b));
  assert.is((await two.tokens.verify(a)).name, 'alice');
  assert.is((await (await open('secret one')).tokens.verify(b)).name, 'alice');
  await open('secret two');
  assert.is((await rows()).length, 2);
});

test('tokens: of this registry, of this kind, and not expired for longer than clocks may differ', async () => {
  const { ring, tokens } = await open();
  const token = await tokens.issue(claims);
  const isInvalid = async (given: string, by = tokens) =>
    assert.instance(await by.verify(given).catch(e => e), TokenInvalid);
  await isInvalid(token, new Tokens(ring, 'another registry'));
  await isInvalid('');
  await isInvalid(`${token}x`);
  const user = { name: 'alice', passwordHash: 'x', rights: noRights };
  const refresh = await tokens.issueRefresh(user);
  await isInvalid(refresh);
  assert.is(await tokens.verifyRefresh(refresh, () => user), user);
  const changed = () => tokens.verifyRefresh(refresh, () => ({ ...user, passwordHash: 'y' })).catch(error => error);
  assert.instance(await changed(), TokenInvalid);
  assert.instance(await tokens.verifyRefresh(token, () => user).catch(error => error), TokenInvalid);

  // Gateways whose clocks are behind, and ahead.
  const at = (seconds: number) => new Tokens(ring, 'registry', () => new Date(Date.now() + seconds * 1_000));
  assert.is((await at(-3_600).verify(token)).name, 'alice');
  assert.is((await at(600 + 50).verify(token)).name, 'alice');
  await isInvalid(token, at(600 + 70));
  const old = await at(-700).issue(claims);
  assert.match(String(await tokens.verify(old).catch(error => error)), 'the token has expired');
});

test.run();
