/** The commands with a worker that wants certificates. */
import { createHash } from 'node:crypto';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { Security } from '../../lib/rpc/security.js';
import type { Identity } from '../../lib/tls/identity.js';
import { TestAuthority } from '../support/certificates.js';
import { command } from '../support/command-line.js';
import { atEnd, suite } from '../support/suite.js';
import { answers, startAdminServer } from './admin-server.js';

const test = suite('cli: certificates and tokens');

const TOKEN = 'a-token-of-32-bytes-or-more-in-hex';

let authority: TestAuthority;
let address: string;

test.before(async () => {
  authority = await TestAuthority.make();
  const security = Security.open(
    {
      ...{ tls: await authority.files('worker'), insecure: false, administrators: ['alice'] },
      adminTokens: [{ name: 'ci', sha256: createHash('sha256').update(TOKEN).digest('hex') }],
    },
    pino({ level: 'silent' }),
  );
  atEnd(() => security.close());
  const server = await startAdminServer(security);
  server.script = { ListLocations: answers({ inSync: true }).handler };
  address = server.address;
});

async function ask(role: Identity['role'], name: string, more: Record<string, string> = {}) {
  const { ca, cert, key } = await authority.files(role, name);
  const env = { ENTREPOT_GRPC_TLS_CA: ca, ENTREPOT_GRPC_TLS_CERT: cert, ENTREPOT_GRPC_TLS_KEY: key, ...more };
  return command(['status', '--server', address], { env });
}

test('an administrator by certificate, or by a token beside the certificate of a process', async () => {
  const alice = await ask('administrator', 'alice');
  assert.is(alice.status, 0, alice.stderr);
  assert.is((await ask('gateway', 'us-1', { ENTREPOT_ADMIN_TOKEN: TOKEN })).status, 0);
});

test('an administrator who has a token and no certificate: the authority tells which worker may have it', async () => {
  const { ca } = await authority.files('worker');
  const withToken = (token: string, authorities = ca) =>
    command(['status', '--server', address], {
      env: { ENTREPOT_GRPC_TLS_CA: authorities, ENTREPOT_ADMIN_TOKEN: token },
    });
  const ci = await withToken(TOKEN);
  assert.is(ci.status, 0, ci.stderr);
  const wrong = await withToken('another');
  assert.is(wrong.status, 1);
  assert.match(wrong.stderr, 'a token that is not known');
  const theirs = await (await TestAuthority.make()).files('worker');
  assert.is((await withToken(TOKEN, theirs.ca)).status, 3);
  const missing = await withToken(TOKEN, '/nowhere/ca.crt');
  assert.is(missing.status, 1);
  assert.match(missing.stderr, 'ENTREPOT_GRPC_TLS_CA: ENOENT');
  const alone = await command(['status', '--server', address], { env: { ENTREPOT_GRPC_TLS_CA: ca } });
  assert.match(alone.stderr, 'ENTREPOT_GRPC_TLS_CERT: is missing beside ENTREPOT_GRPC_TLS_CA');
});

test('others are refused in the words of the service; without certificates nobody answers', async () => {
  const mallory = await ask('administrator', 'mallory');
  assert.is(mallory.status, 1);
  assert.match(mallory.stderr, 'ENTREPOT_ADMINISTRATORS');
  const gateway = await ask('gateway', 'us-1');
  assert.is(gateway.status, 1);
  assert.match(gateway.stderr, 'the gateway us-1');
  assert.is((await command(['status', '--server', address])).status, 3);
  const far = await command(['status', '--server', '192.0.2.1:7090']);
  assert.is(far.status, 3);
  assert.match(far.stderr, /plain text over a network: give certificates with ENTREPOT_GRPC_TLS_CA/);
});

test.run();
