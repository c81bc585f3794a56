/** Accounts: tokens for credentials, and what they open. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import * as assert from 'uvu/assert';
import { DatabaseProxy } from '../support/database-proxy.js';
import { type Gateway, type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { imageIndexType } from '../support/images.js';
import { challengeOf, type OciClient, signedInClient } from '../support/oci-client.js';
import { codeOf, digestOf, someBytes } from '../support/pushes.js';
import { atEnd, suite } from '../support/suite.js';
import { accounts, basic, writeUsers } from '../support/users.js';
import { until } from '../support/wait.js';

const test = suite('gateway sign-in');
const database = new DatabaseProxy();
const people = {
  alice: { password: 'pw of alice', push: ['team/*', 'secret/a'], pull: ['open/*'] },
  reader: { password: 'pw of reader', pull: ['team/*'] },
  'team+cleaner': { password: 'pw of cleaner', delete: ['team/*'] },
  admin: { password: 'pw of admin' },
  leaver: { password: 'pw of leaver', push: ['team/*'] },
} as const;

let usersFile: string;
let stack: GatewayStack;
let other: Gateway;
const as: Record<string, OciClient> = {};

test.before(async () => {
  usersFile = await writeUsers(people);
  stack = await startGatewayStack({
    through: url => database.through(url),
    config: {
      ...accounts(usersFile),
      ENTREPOT_ANONYMOUS_ACCESS: 'none',
      ENTREPOT_TRUSTED_PROXIES: ['127.0.0.1'],
      SERVER_HOSTNAME: undefined,
      SUPER_USERS: ['admin'],
    },
  });
  other = await stack.startGateway({ ENTREPOT_ANONYMOUS_ACCESS: 'pull' });
  for (const [name, { password }] of Object.entries(people)) {
    as[name] = signedInClient(`http://127.0.0.1:${stack.port}`, `${name}:${password}`);
    const client = as[name];
    atEnd(() => client.close());
  }
});

function client(name: keyof typeof people): OciClient {
  const found = as[name];
  if (!found) throw new Error(`there is no client of ${name}`);
  return found;
}

/** Asks for a token. */
async function ask(name: keyof typeof people, ...scopes: string[]) {
  const query = scopes.map(scope => `&scope=${encodeURIComponent(scope)}`).join('');
  const { body, status } = await stack.client.request('GET', `/v2/auth?service=entrepot${query}`, {
    headers: basic(name, people[name].password),
  });
  return { status, ...JSON.parse(body.toString()) };
}

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const statusOf = async (who: OciClient, method: string, path: string, body?: Buffer) =>
  (await who.request(method, path, body ? { body } : {})).status;

async function pushIndex(who: OciClient, repository: string): Promise<void> {
  await who.pushManifest(repository, 'v1', { schemaVersion: 2, mediaType: imageIndexType, manifests: [] });
}

test('a challenge says where the token is to be had, and for what', async () => {
  const realm = `http://127.0.0.1:${stack.port}/v2/auth`;
  const entry = await stack.client.request('GET', '/v2/');
  assert.is(entry.status, 401);
  assert.is(codeOf(entry), 'UNAUTHORIZED');
  assert.is(entry.headers['www-authenticate'], `Bearer realm="${realm}",service="entrepot"`);
  const push = await stack.client.request('POST', '/v2/team/app/blobs/uploads/');
  assert.equal(challengeOf(String(push.headers['www-authenticate'])), {
    realm,
    service: 'entrepot',
    scope: 'repository:team/app:pull,push',
  });
  const proxied = { headers: { host: 'registry.example.com', 'x-forwarded-proto': 'https' } };
  const far = await stack.client.request('GET', '/v2/team/app/tags/list', proxied);
  assert.equal(challengeOf(String(far.headers['www-authenticate'])), {
    realm: 'https://registry.example.com/v2/auth',
    service: 'entrepot',
    scope: 'repository:team/app:pull',
  });
});

test('a token is for what was asked, as far as its user may', async () => {
  const answer = await ask(
    'alice',
    'repository:team/app:pull,push,delete',
    'repository:foreign/app:pull,push registry:catalog:*',
  );
  assert.is(answer.status, 200);
  assert.is(answer.access_token, answer.token);
  assert.is(answer.expires_in, 600);
  assert.ok(Math.abs(Date.parse(answer.issued_at) - Date.now()) < 10_000);
  const { access, aud, exp = 0, iat = 0, sub } = decodeJwt(answer.token);
  assert.equal({ aud, sub, life: exp - iat }, { aud: 'entrepot', sub: 'alice', life: 600 });
  assert.equal(access, [
    { type: 'repository', name: 'team/app', actions: ['pull', 'push'] },
    { type: 'repository', name: 'foreign/app', actions: [] },
    { type: 'registry', name: 'catalog', actions: ['*'] },
  ]);
  assert.is(decodeProtectedHeader(answer.token).alg, 'ES256');
  assert.is((await stack.client.request('GET', '/v2/', bearer(answer.token))).status, 200);
});

test('bad credentials are 401, and an unknown name is answered as a wrong password is', async () => {
  const get = (headers: Record<string, string>) =>
    stack.client.request('GET', '/v2/auth?service=entrepot', { headers });
  const wrong = await get(basic('alice', 'wrong'));
  const unknown = await get(basic('nobody', 'wrong'));
  assert.is(wrong.status, 401);
  assert.is(codeOf(wrong), 'UNAUTHORIZED');
  assert.match(String(wrong.headers['www-authenticate']), /^Basic realm="entrepot"$/);
  assert.equal([unknown.status, unknown.body], [wrong.status, wrong.body]);
  for (const authorization of ['Basic', 'Basic !', 'Basic YWxpY2U=', 'Basic OnB3', 'Digest x', 'Bearer x']) {
    assert.is((await get({ authorization })).status, 401, authorization);
  }
  assert.is((await stack.client.request('GET', '/v2/auth')).status, 401);
  assert.is((await stack.client.request('GET', '/v2/auth?scope=repository:team/app:pull')).status, 401);
  assert.match((await get(basic('$oauthtoken', 'x'))).body.toString(), 'is for tokens');
});

test('a scope that is malformed is 400; a type or action that means nothing here opens nothing', async () => {
  for (const scope of [
    'pull',
    'repository:team/app',
    'repository:Team:pull',
    'repository::pull',
    'repository:a:b:c:pull',
  ]) {
    const { errors, status } = await ask('alice', scope);
    assert.is(status, 400, scope);
    assert.is(errors[0].code, 'UNSUPPORTED');
  }
  const { token } = await ask(
    'alice',
    'repository(plugin):team/app:pull,metadata_read',
    'other:thing:pull',
    'repository:node:',
  );
  assert.equal(decodeJwt(token).access, [
    { type: 'repository', name: 'team/app', actions: ['pull'] },
    { type: 'repository', name: 'library/node', actions: [] },
  ]);
  assert.is((await stack.client.request('PUT', '/v2/auth')).status, 405);
});

/** Asks for a token by the OAuth2 form. */
async function post(form: Record<string, string>) {
  const answer = await stack.client.request('POST', '/v2/auth', {
    body: new URLSearchParams({ service: 'entrepot', client_id: 'test', ...form }).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  });
  return { status: answer.status, ...JSON.parse(answer.body.toString()) };
}
const password = { grant_type: 'password', username: 'team+cleaner', password: people['team+cleaner'].password };

test('the OAuth2 form: a password, or a refresh token', async () => {
  const scope = 'repository:team/app:pull,delete';
  const first = await post({ ...password, scope, access_type: 'offline' });
  assert.is(first.status, 200);
  assert.is(first.scope, scope);
  assert.is((await stack.client.request('GET', '/v2/', bearer(first.access_token))).status, 200);
  assert.is((await post(password)).refresh_token, undefined);

  const again = await post({ grant_type: 'refresh_token', refresh_token: first.refresh_token, scope });
  assert.is(again.status, 200);
  assert.is(decodeJwt(again.access_token).sub, 'team+cleaner');
  assert.is(
    (await stack.client.request('GET', '/v2/', bearer(first.refresh_token))).status,
    401,
    'it is not for requests',
  );
  assert.is((await post({ grant_type: 'refresh_token', refresh_token: first.access_token })).status, 401);
  assert.is((await post({ ...password, password: 'wrong' })).status, 401);
  assert.is((await post({ grant_type: 'magic' })).status, 400);
  assert.is((await post({ grant_type: 'password', username: 'alice' })).status, 400);
  assert.is((await stack.client.request('POST', '/v2/auth', { body: '{}' })).status, 400);
});

test('rights: who may push, who may only pull, and who may do nothing', async () => {
  const blob = someBytes(1_000);
  const digest = await client('alice').pushBlob('team/app', blob);
  await pushIndex(client('alice'), 'team/app');
  const path = `/v2/team/app/blobs/${digest}`;
  assert.is(await statusOf(client('alice'), 'GET', path), 200);
  assert.is(await statusOf(client('reader'), 'GET', path), 200);
  assert.is(await statusOf(client('admin'), 'GET', path), 200);
  assert.is(await statusOf(stack.client, 'GET', path), 401);

  const refused = await client('reader').request('POST', '/v2/team/app/blobs/uploads/');
  assert.equal([refused.status, codeOf(refused)], [403, 'DENIED']);
  assert.match(refused.body.toString(), 'reader may not push to team/app');
  for (const [method, where] of [
    ['PUT', 'manifests/v2'],
    ['POST', `blobs/uploads/?digest=${digest}`],
    ['PATCH', 'blobs/uploads/0b0f4b6c-9d0f-4d52-8f3a-6c3f1e1c2d3e'],
    ['DELETE', 'manifests/v1'],
    ['DELETE', `blobs/${digest}`],
  ] as const) {
    assert.is(
      await statusOf(client('reader'), method, `/v2/team/app/${where}`, Buffer.from('{}')),
      403,
      `${method} ${where}`,
    );
  }
  assert.is(await statusOf(client('alice'), 'DELETE', '/v2/team/app/manifests/v1'), 403);
  assert.is(await statusOf(client('reader'), 'GET', `/v2/secret/a/blobs/${digest}`), 403);
  assert.is(await statusOf(client('team+cleaner'), 'DELETE', '/v2/team/app/manifests/v1'), 202);
  assert.is(await statusOf(client('admin'), 'DELETE', path), 202);
});

test('a token opens no more than it was asked for, and says how to get more', async () => {
  await pushIndex(client('alice'), 'team/scoped');
  const { token } = await ask('alice', 'repository:team/scoped:pull');
  assert.is((await stack.client.request('GET', '/v2/team/scoped/manifests/v1', bearer(token))).status, 200);
  for (const [method, path, scope] of [
    ['POST', '/v2/team/scoped/blobs/uploads/', 'repository:team/scoped:pull,push'],
    ['GET', '/v2/open/x/tags/list', 'repository:open/x:pull'],
    ['GET', '/v2/_catalog', 'registry:catalog:*'],
  ] as const) {
    const answer = await stack.client.request(method, path, bearer(token));
    assert.is(answer.status, 401, path);
    const challenge = challengeOf(String(answer.headers['www-authenticate']));
    assert.equal([challenge.scope, challenge.error], [scope, 'insufficient_scope'], path);
  }
});

test('what is no good token is 401 everywhere, with a way to a new one; also a password', async () => {
  const { token } = await ask('alice', 'repository:team/app:pull');
  const [head, body, signature = ''] = token.split('.');
  const claims = Buffer.from(JSON.stringify({ ...decodeJwt(token), sub: 'admin' })).toString('base64url');
  const bad = [
    `Bearer ${head}.${claims}.${signature}`,
    `Bearer ${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.`,
    `Bearer ${Buffer.from('{"alg":"HS256","kid":"x"}').toString('base64url')}.${claims}.${signature}`,
    `Bearer ${head}.${body}`,
    'Bearer x',
    'Bearer',
    basic('alice', people.alice.password).authorization,
  ];
  for (const authorization of bad) {
    for (const path of ['/v2/', '/v2/team/app/tags/list', '/v2/_catalog']) {
      const answer = await stack.client.request('GET', path, { headers: { authorization } });
      assert.is(answer.status, 401, `${path} ${authorization}`);
      assert.is(challengeOf(String(answer.headers['www-authenticate'])).error, 'invalid_token');
    }
  }
  // Also where nobody would need one: or a client would not know that its token is over.
  const answer = await other.client.request('GET', '/v2/team/app/tags/list', {
    headers: { authorization: 'Bearer x' },
  });
  assert.is(answer.status, 401);
});

test('open for pulls: without a token, with one for nobody, and pushes need an account', async () => {
  await pushIndex(client('alice'), 'team/open');
  const get = (path: string, headers = {}) => other.client.request('GET', path, { headers });
  assert.is((await get('/v2/team/open/manifests/v1')).status, 200);
  assert.is((await get('/v2/')).status, 401, 'clients sign in only where they are asked to here');
  const { token } = JSON.parse((await get('/v2/auth?scope=repository:team/open:pull,push')).body.toString());
  assert.equal(decodeJwt(token).access, [{ type: 'repository', name: 'team/open', actions: ['pull'] }]);
  assert.is(decodeJwt(token).sub, '(anonymous)');
  const headers = bearer(token).headers;
  assert.is((await get('/v2/', headers)).status, 200);
  assert.is((await get('/v2/team/open/manifests/v1', headers)).status, 200);
  for (const with_ of [{}, headers]) {
    const push = await other.client.request('POST', '/v2/team/open/blobs/uploads/', { headers: with_ });
    assert.equal([push.status, codeOf(push)], [401, 'UNAUTHORIZED']);
  }
});

test('a mount takes only from where the caller may pull', async () => {
  const [mine, hidden] = [someBytes(100), someBytes(100)];
  await client('alice').pushBlob('team/source', mine);
  await client('admin').pushBlob('hidden/source', hidden);
  const { token } = await ask('alice', 'repository:secret/a:pull,push');
  const mount = async (blob: Buffer, from?: string) => {
    const query = `mount=${digestOf(blob)}${from ? `&from=${from}` : ''}`;
    return (await stack.client.request('POST', `/v2/secret/a/blobs/uploads/?${query}`, { ...bearer(token) })).status;
  };
  assert.is(await mount(hidden, 'hidden/source'), 202);
  assert.is(await mount(hidden), 202);
  assert.is(await mount(mine, 'team/other'), 202);
  assert.is(await mount(mine, 'team/source'), 201);
  assert.is(await mount(mine), 201);
});

test('the catalog shows what the caller may pull, page by page', async () => {
  for (const repository of ['hidden/a', 'open/a', 'team/list-1', 'team/list-2', 'team/list-3', 'zzz/last']) {
    await pushIndex(client('admin'), repository);
  }
  const list = async (who: OciClient, query = '') => {
    const answer = await who.request('GET', `/v2/_catalog${query}`);
    return { link: answer.headers.link, names: JSON.parse(answer.body.toString()).repositories as string[] };
  };
  const reader = await list(client('reader'));
  assert.ok(reader.names.length >= 3 && reader.names.every(name => name.startsWith('team/')), reader.names.join());
  assert.equal(
    (await list(client('admin'))).names.filter(name => /^(hidden\/a|zzz)/.test(name)),
    ['hidden/a', 'zzz/last'],
  );
  const page = await list(client('reader'), '?n=2&last=team/list-1');
  assert.equal(page.names, ['team/list-2', 'team/list-3']);
  const [names, all] = [[] as string[], reader.names];
  let query = '?n=1';
  while (names.length <= all.length) {
    const { link, names: some } = await list(client('reader'), query);
    names.push(...some);
    if (link === undefined) break;
    query = /<\/v2\/_catalog(\?[^>]*)>/.exec(String(link))?.[1] ?? '';
  }
  assert.equal(names, all);
  assert.is(await statusOf(stack.client, 'GET', '/v2/_catalog'), 401);
});

test('a token is good at every gateway, and costs no query', async () => {
  await pushIndex(client('alice'), 'team/far');
  const { token } = await ask('alice', 'repository:team/far:pull,push');
  assert.is((await other.client.request('POST', '/v2/team/far/blobs/uploads/', bearer(token))).status, 202);
  const pull = () => stack.client.request('GET', '/v2/team/far/manifests/v1', bearer(token));
  assert.is(await database.tripsOf(pull), 1);
});

test('while PostgreSQL is away, tokens are made and accepted', async () => {
  await pushIndex(client('alice'), 'team/away');
  const path = '/v2/team/away/manifests/v1';
  assert.is(await statusOf(client('alice'), 'GET', path), 200);
  database.cut();
  try {
    const { status, token } = await ask('alice', 'repository:team/away:pull');
    assert.is(status, 200);
    assert.is((await stack.client.request('GET', path, bearer(token))).status, 200);
    assert.is((await other.client.request('GET', '/v2/', bearer(token))).status, 200);
    // A key that might be there, and cannot be asked for: that is not the client's fault.
    const unknown = `${Buffer.from('{"alg":"ES256","kid":"new"}').toString('base64url')}.e30.AA`;
    const is503 = async () => (await stack.client.request('GET', '/v2/', bearer(unknown))).status === 503;
    assert.ok(await until(is503, 10_000));
  } finally {
    await database.mend();
  }
});

test('guessing soon has to wait; others, and who is known to be right, do not', async () => {
  const from = (address: string, password: string, name = 'reader') =>
    stack.client.request('GET', '/v2/auth', { headers: { 'x-forwarded-for': address, ...basic(name, password) } });
  const flood = await Promise.all(Array.from({ length: 30 }, (_, number) => from('203.0.113.1', `guess ${number}`)));
  const limited = flood.filter(({ status }) => status === 429);
  assert.ok(limited.length >= 20, `${limited.length}`);
  for (const answer of limited) {
    assert.ok(Number(answer.headers['retry-after']) > 0);
    assert.is(codeOf(answer), 'TOOMANYREQUESTS');
  }
  assert.is((await from('203.0.113.1', 'guess')).status, 429);
  assert.is((await from('203.0.113.2', people.reader.password)).status, 200);
  // It was found to be right a moment ago, wherever from.
  assert.is((await from('203.0.113.1', people.reader.password)).status, 200);
  // What the client says of itself is not believed beyond the last trusted proxy.
  assert.is((await from('203.0.113.9, 203.0.113.1', 'guess')).status, 429);
  assert.is((await from('203.0.113.1, 203.0.113.2', 'guess')).status, 401);
});

test('the log names who signs in, and holds no password, hash or token', async () => {
  const { token } = await ask('reader', 'repository:team/app:pull');
  await stack.client.request('GET', '/v2/team/app/tags/list', bearer(token));
  const said = () => /"user":"reader"/.test(stack.gatewayLog()) && /a sign-in failed/.test(stack.gatewayLog());
  assert.ok(await until(said, 10_000));
  const log = stack.gatewayLog();
  for (const secret of ['pw of', 'guess', token, '$argon2', 'secret of the tests', 'Bearer e', '.eyJ']) {
    assert.not.match(log, secret);
  }
});

test('who is taken out of the file, or loses rights, loses them at once; a new password ends refresh tokens', async () => {
  const { refresh_token } = await post({ ...password, access_type: 'offline' });
  const refresh = () => post({ grant_type: 'refresh_token', refresh_token });
  const scope = 'repository:team/app:pull,push';
  const [alice, leaver] = [await ask('alice', scope), await ask('leaver', scope)];
  const push = async ({ token }: { token: string }) =>
    (await stack.client.request('POST', '/v2/team/app/blobs/uploads/', bearer(token))).status;
  assert.equal([await push(alice), await push(leaver), (await refresh()).status], [202, 202, 200]);

  const { leaver: _leaver, ...others } = people;
  const changed = {
    alice: { password: people.alice.password, pull: ['team/*'] },
    'team+cleaner': { ...people['team+cleaner'], password: 'another' },
  };
  await writeUsers({ ...others, ...changed }, usersFile);
  assert.ok(await until(async () => (await push(alice)) === 403, 10_000));
  assert.equal([await push(leaver), (await refresh()).status], [401, 401]);
});

test.run();
