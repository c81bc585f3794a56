/** Who is let in over gRPC, and which server a client talks to: real TLS, real certificates. */
import { createHash } from 'node:crypto';
import { credentials, Metadata } from '@grpc/grpc-js';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import type { CertificatePaths, GrpcConfig } from '../../lib/config/config.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { fromServiceError, StatusError } from '../../lib/rpc/errors.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { CROSSING_PROTO, CrossingStub, STORAGE_PROTO, StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { formatAddress, startServer } from '../../lib/rpc/server.js';
import type { FollowRequest__Output } from '../../proto/generated/entrepot/crossing/v1/FollowRequest.js';
import type { FollowResponse } from '../../proto/generated/entrepot/crossing/v1/FollowResponse.js';
import { TestAuthority } from '../support/certificates.js';
import { make } from '../support/rpc-stub.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('rpc security');
const log = pino({ level: 'silent' });
const HEALTH = 'entrepot.test';
const TOKEN = 'a-token-of-32-bytes-or-more-in-hex';

let ours: TestAuthority;
const lines: string[] = [];
let address: string;
let port: number;

function open(tls: CertificatePaths | undefined, more: Partial<GrpcConfig> = {}): Security {
  const security = Security.open({ tls, insecure: false, administrators: [], adminTokens: [], ...more }, log);
  atEnd(() => security.close());
  return security;
}

/** A server with a service for gateways and workers, and one for administrators. */
async function start(security: Security, host = '127.0.0.1') {
  const storage = Object.fromEntries(
    Object.keys(StorageStub.service).map(name => [name, make.unary(async () => ({ location: 'here' }))]),
  );
  const follow = make.serverStream<FollowRequest__Output, FollowResponse>(async (_request, send) =>
    send({ data: Buffer.from('x') }),
  );
  const server = await startServer(
    { host, port: 0 },
    {
      services: [
        {
          definition: StorageStub.service,
          implementation: storage,
          proto: STORAGE_PROTO,
          callers: ['gateway', 'worker'],
        },
        {
          definition: CrossingStub.service,
          implementation: { Follow: follow },
          proto: CROSSING_PROTO,
          callers: ['administrator'],
        },
      ],
      healthNames: [HEALTH],
      security,
      log: pino({}, { write: (line: string) => void lines.push(line) }),
    },
  );
  server.setHealth(HEALTH, true);
  atEnd(() => server.stop(0));
  return server;
}

test.before(async () => {
  ours = await TestAuthority.make();
  const security = open(await ours.files('storage-proxy'), {
    administrators: ['alice'],
    adminTokens: [
      { name: 'other', sha256: 'ab'.repeat(32) },
      { name: 'ci', sha256: createHash('sha256').update(TOKEN).digest('hex') },
    ],
  });
  const server = await start(security);
  address = formatAddress(server.address);
  port = server.address.port;
});

type Dial = Pick<Security, 'dial'>;

/** What a call of the first service ends with: `ok`, or the status, the reason and the message. */
async function ask(client: Dial, at = address, role: 'storage-proxy' | 'worker' = 'storage-proxy'): Promise<string> {
  const stub = new StorageStub(...client.dial(at, role, channelOptions(NEAR_WINDOW)));
  try {
    const { location } = await callUnary(stub.describe.bind(stub), {}, {}, 5_000);
    return location === 'here' ? 'ok' : 'wrong';
  } catch (error) {
    return outcomeOf(error);
  } finally {
    stub.close();
  }
}

/** The same for the one of administrators. */
function administer(client: Dial, token?: string): Promise<string> {
  const stub = new CrossingStub(...client.dial(address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  const call = stub.follow({}, metadata);
  return new Promise<string>(resolve => {
    call.on('data', () => {});
    call.on('error', error => resolve(outcomeOf(fromServiceError(error))));
    call.on('end', () => resolve('ok'));
  }).finally(() => stub.close());
}

function outcomeOf(error: unknown): string {
  if (!(error instanceof StatusError)) throw error;
  return `${error.status} ${error.reason} ${error.message}`;
}

/** A client without any certificate, that believes our authority. */
function anonymous(): Dial {
  return {
    dial: (at, _role, options) => [
      at,
      credentials.createSsl(Buffer.from(ours.authority.cert)),
      { ...options, 'grpc.ssl_target_name_override': 'localhost' },
    ],
  };
}

const plain: Dial = { dial: (at, _role, options) => [at, credentials.createInsecure(), options] };

test('gateways and workers may call what is for them; administrators and storage-proxies may not', async () => {
  assert.is(await ask(open(await ours.files('gateway', 'us-1'))), 'ok');
  assert.is(await ask(open(await ours.files('worker', 'us-1'))), 'ok');
  for (const role of ['administrator', 'storage-proxy'] as const) {
    const outcome = await ask(open(await ours.files(role, 'alice')));
    assert.match(
      outcome,
      new RegExp(`^PERMISSION_DENIED FORBIDDEN the ${role} alice may not call .*/Describe: only gateways and workers`),
    );
  }
  assert.match(lines.join(), /a call was refused: the administrator alice may not call/);
});

test('administrators are those whom the configuration names, by certificate or by token', async () => {
  assert.is(await administer(open(await ours.files('administrator', 'alice'))), 'ok');
  assert.match(
    await administer(open(await ours.files('administrator', 'mallory'))),
    /^PERMISSION_DENIED FORBIDDEN the administrator mallory, whom ENTREPOT_ADMINISTRATORS does not name/,
  );
  assert.match(
    await administer(open(await ours.files('gateway', 'alice'))),
    /^PERMISSION_DENIED FORBIDDEN the gateway alice may not/,
  );
  assert.is(await administer(anonymous(), TOKEN), 'ok');
  const withoutCertificate = (ca: string): Dial => ({
    dial: (at, role, options) => Security.dialWithAuthority(at, role, options, Buffer.from(ca)),
  });
  assert.is(await administer(withoutCertificate(ours.authority.cert), TOKEN), 'ok');
  assert.match(await administer(withoutCertificate(ours.authority.cert), 'wrong'), /^PERMISSION_DENIED FORBIDDEN/);
  const theirs = (await TestAuthority.make()).authority.cert;
  const stranger = await administer(withoutCertificate(theirs), TOKEN);
  assert.match(stranger, /^UNAVAILABLE/, 'no token is sent to a server that is not ours');
  for (const wrong of [`${TOKEN}x`, '', undefined, 'ab'.repeat(32)])
    assert.match(await administer(anonymous(), wrong), /^PERMISSION_DENIED FORBIDDEN somebody with/);
  assert.match(
    await administer(open(await ours.files('gateway', 'us-1')), 'wrong'),
    /^PERMISSION_DENIED FORBIDDEN the gateway us-1/,
  );
});

test('without a certificate of our authority nobody may call anything', async () => {
  const theirs = await TestAuthority.make();
  const forged = await theirs.files('gateway', 'us-1');
  const stranger = open({ ...forged, ca: (await ours.files('gateway', 'us-1')).ca });
  for (const client of [anonymous(), stranger]) {
    assert.match(await ask(client), /^PERMISSION_DENIED FORBIDDEN somebody without a certificate/);
    const health = { security: client as Security, role: 'storage-proxy' } as const;
    assert.is(await checkHealth(address, HEALTH, 2_000, health), false);
  }
  assert.match(await ask(plain), /^(UNAVAILABLE|INTERNAL) undefined/);
  // Where no token could help, not even the connection comes about.
  const strict = await start(open(await ours.files('storage-proxy')));
  assert.match(await ask(stranger, formatAddress(strict.address)), /^UNAVAILABLE undefined/);
});

test('health is for everybody with a valid certificate', async () => {
  for (const role of ['gateway', 'storage-proxy', 'administrator'] as const) {
    const security = open(await ours.files(role, 'mallory'));
    assert.is(await checkHealth(address, HEALTH, 2_000, { security, role: 'storage-proxy' }), true, role);
  }
});

test('a client talks only to a server whose certificate is for its host, of the right role, and from our authority', async () => {
  const gateway = open(await ours.files('gateway', 'us-1'));
  assert.is(await ask(gateway, `localhost:${port}`), 'ok');
  assert.match(await ask(gateway, address, 'worker'), /^UNAVAILABLE .*is that of a storage-proxy, and not of a worker/);
  const elsewhere = await start(open(await ours.files('storage-proxy', 'far', ['10.9.8.7', 'far.example.com'])));
  assert.match(await ask(gateway, formatAddress(elsewhere.address)), /^UNAVAILABLE .*(altnames|cert's list)/);
  const theirs = await TestAuthority.make();
  const impostor = await start(open(await theirs.files('storage-proxy')));
  assert.match(await ask(gateway, formatAddress(impostor.address)), /^UNAVAILABLE .*certificate/);
});

test('plain text stays on this machine, unless it is allowed by name', async () => {
  const local = await start(Security.local);
  address = formatAddress(local.address);
  assert.is(await ask(Security.local), 'ok');
  assert.is(await administer(Security.local), 'ok', 'who is on this machine may administer it');
  assert.throws(() => Security.local.dial('10.0.0.5:7070', 'worker', {}), /ENTREPOT_INSECURE_GRPC/);
  const refused = await start(Security.local, '0.0.0.0').then(
    () => 'it listens',
    error => String(error),
  );
  assert.match(refused, /0\.0\.0\.0 would be plain text.*ENTREPOT_GRPC_TLS_CA.*ENTREPOT_INSECURE_GRPC/);
  const insecure = open(undefined, { insecure: true });
  insecure.dial('10.0.0.5:7070', 'worker', {});
  await start(insecure, '0.0.0.0');
  const { roles } = insecure.identify({ certificate: undefined, authorization: undefined, peer: '10.0.0.7:123' });
  assert.equal(roles, ['gateway', 'worker'], 'and never an administrator from another machine');
  for (const peer of ['127.0.0.1:5', '::1:5', '::ffff:127.0.0.1:5'])
    assert.ok(
      insecure.identify({ certificate: undefined, authorization: undefined, peer }).roles.includes('administrator'),
    );
});

test.run();
