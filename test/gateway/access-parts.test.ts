/** The parts of signing in that need no process: scopes, challenges, addresses, limits, sealed keys. */
import type { IncomingMessage } from 'node:http';
import * as assert from 'uvu/assert';
import { Attempts } from '../../gateway/auth/attempts.js';
import { Challenges } from '../../gateway/auth/challenge.js';
import { ClientAddresses, networkOf } from '../../gateway/auth/client-address.js';
import { Scope, ScopeMalformed } from '../../gateway/auth/scope.js';
import { Seal } from '../../gateway/auth/sealed.js';
import { Failures } from '../../lib/cache/failures.js';
import { noRights, RepositorySet } from '../../lib/users/rights.js';
import { suite } from '../support/suite.js';

const test = suite('gateway: parts of access');

const request = (headers: Record<string, string>, remoteAddress?: string) =>
  ({ headers, socket: { remoteAddress } }) as unknown as IncomingMessage;

test('scopes: full names, several in one text, the registry’s name before a repository', () => {
  const options = { libraryNamespace: 'library', serverHostname: 'reg.example.com:8443' };
  const scope = Scope.parse(
    ['repository:node:pull repository:reg.example.com:8443/a/b:*', 'repository:node:push'],
    options,
  );
  assert.is(scope.toString(), 'repository:library/node:pull,push repository:a/b:pull,push,delete');
  assert.ok(scope.covers('library/node', 'push'));
  assert.not(scope.covers('library/node', 'delete'));
  assert.not(scope.covers('a', 'pull'));
  const rights = { ...noRights, pull: new RepositorySet([], ['a/']) };
  assert.is(scope.within(rights).toString(), 'repository:library/node: repository:a/b:pull');
  assert.equal(Scope.of(scope.access).access, scope.access);
  const many = Array.from({ length: 51 }, (_, number) => `repository:r${number}:pull`);
  for (const texts of [many, ['x'], ['repository:A:pull'], ['repository:a:pull;'], ['registry:catalog']]) {
    assert.throws(
      () => Scope.parse(texts, options),
      (error: unknown) => error instanceof ScopeMalformed,
      texts.join(),
    );
  }
  assert.not(Scope.parse(['registry:catalog:pull', 'registry:other:*'], options).catalog);
});

test('the realm of a challenge: where the client came to, unless the registry has a name', () => {
  const realm = (headers: Record<string, string>, options: { serverHostname?: string; urlScheme?: 'https' } = {}) => {
    const { serverHostname, urlScheme } = options;
    return new Challenges({ accounts: true, serverHostname, urlScheme }).realm(request(headers));
  };
  assert.is(realm({ host: 'a:1' }), 'http://a:1/v2/auth');
  assert.is(realm({ host: '[::1]:8080' }), 'http://[::1]:8080/v2/auth');
  assert.is(realm({ host: 'a', 'x-forwarded-proto': 'https, http' }), 'https://a/v2/auth');
  assert.is(realm({ host: 'a', 'x-forwarded-proto': 'gopher' }), 'http://a/v2/auth');
  assert.is(realm({ host: 'a"b' }), 'http://localhost/v2/auth');
  assert.is(realm({ host: 'a' }, { serverHostname: 'reg.example.com' }), 'http://reg.example.com/v2/auth');
  assert.is(realm({ host: 'a', 'x-forwarded-proto': 'http' }, { urlScheme: 'https' }), 'https://a/v2/auth');
});

test('the address of a client, by way of proxies that are trusted, and of others', () => {
  const addresses = new ClientAddresses(['10.0.0.0/8', '2001:db8::1']);
  const of = (remote: string, forwarded?: string) =>
    addresses.of(request(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }, remote));
  assert.is(of('192.0.2.1'), '192.0.2.1');
  assert.is(of('192.0.2.1', '203.0.113.1'), '192.0.2.1');
  assert.is(of('10.0.0.7', '203.0.113.1'), '203.0.113.1');
  assert.is(of('::ffff:10.0.0.7', '203.0.113.9, 203.0.113.1, 10.2.3.4'), '203.0.113.1');
  assert.is(of('2001:db8::1', 'made up, 203.0.113.1'), '203.0.113.1');
  assert.is(of('10.0.0.7', 'made up'), '10.0.0.7');
  assert.is(of('10.0.0.7', ''), '10.0.0.7');
});

test('an IPv6 network of 64 bits counts as one client', () => {
  const one = '2001:db8:1:2::/64';
  for (const address of ['2001:db8:1:2::1', '2001:0db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2:3::']) {
    assert.is(networkOf(address), one, address);
  }
  assert.is(networkOf('::1'), '0:0:0:0::/64');
  assert.is(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64');
  assert.is.not(networkOf('2001:db8:1:3::1'), one);
  assert.is(networkOf('192.0.2.1'), '192.0.2.1');
});

test('failures make one name wait at one address, longer each time, and no other', async () => {
  const attempts = new Attempts(new Failures(undefined));
  for (let n = 0; n < 5; n++) await attempts.failed('alice', '192.0.2.1');
  assert.is(await attempts.wait('alice', '192.0.2.1'), 0);
  let before = 0;
  for (const least of [500, 1_500, 3_000, 6_000]) {
    await attempts.failed('alice', '192.0.2.1');
    const wait = await attempts.wait('alice', '192.0.2.1');
    assert.ok(wait > least && wait > before, `${wait}`);
    assert.is(attempts.waitHere('alice', '192.0.2.1') > least, true);
    before = wait;
  }
  assert.is(await attempts.wait('alice', '192.0.2.2'), 0);
  assert.is(await attempts.wait('bobby', '192.0.2.1'), 0);
  for (let n = 0; n < 40; n++) await attempts.failed('alice', '192.0.2.1');
  assert.ok((await attempts.wait('alice', '192.0.2.1')) <= 5 * 60_000);
  await attempts.succeeded('alice', '192.0.2.1');
  assert.is(await attempts.wait('alice', '192.0.2.1'), 0);
});

test('one address that tries many names has to wait with all of them', async () => {
  const attempts = new Attempts(new Failures(undefined));
  for (let n = 0; n < 53; n++) await attempts.failed(`name${n}`, `2001:db8::${n.toString(16)}`);
  assert.ok((await attempts.wait('another', '2001:db8::ffff')) > 2_000);
  assert.is(await attempts.wait('another', '2001:db8:0:1::1'), 0);
});

test('very many addresses that try one name lock it out for seconds only, and not where it has signed in from', async () => {
  const attempts = new Attempts(new Failures(undefined));
  await attempts.succeeded('alice', '198.51.100.7');
  for (let n = 0; n < 400; n++) await attempts.failed('alice', `203.0.${n >> 8}.${n & 255}`);
  const wait = await attempts.wait('alice', '198.51.100.8');
  assert.ok(wait > 0 && wait <= 10_000, `${wait}`);
  assert.is(await attempts.wait('alice', '198.51.100.7'), 0);
  assert.is(await attempts.wait('bobby', '198.51.100.8'), 0);
});

test('what is sealed opens with the same secret under the same name, and not when it was changed', () => {
  const seal = new Seal('a secret', 'purpose');
  const sealed = seal.seal(Buffer.from('the key'), 'kid');
  assert.not(sealed.includes('the key'));
  assert.is(new Seal('a secret', 'purpose').open(sealed, 'kid')?.toString(), 'the key');
  assert.is(new Seal('another', 'purpose').open(sealed, 'kid'), undefined);
  assert.is(new Seal('a secret', 'other').open(sealed, 'kid'), undefined);
  assert.is(seal.open(sealed, 'other kid'), undefined);
  const last = sealed.length - 1;
  sealed[last] = (sealed[last] ?? 0) ^ 1;
  assert.is(seal.open(sealed, 'kid'), undefined);
  assert.is(seal.open(Buffer.alloc(0), 'kid'), undefined);
});

test.run();
