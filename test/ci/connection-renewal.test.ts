/** Certificates that are replaced while connections live, and connections that are renewed: nothing in flight is disturbed. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket, connect as tcp } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { type Logger, pino } from 'pino';
import * as assert from 'uvu/assert';
import type { Pair } from '../../cli/certificates/authority.js';
import { StorageNode } from '../../lib/locations/node.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { STORAGE_PROTO, StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { formatAddress, startServer } from '../../lib/rpc/server.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { ReadBlobRequest__Output } from '../../proto/generated/entrepot/storage/v1/ReadBlobRequest.js';
import type {
  ReadBlobResponse,
  ReadBlobResponse__Output,
} from '../../proto/generated/entrepot/storage/v1/ReadBlobResponse.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { TestAuthority } from '../support/certificates.js';
import { make } from '../support/rpc-stub.js';
import { atEnd, suite } from '../support/suite.js';
import { soon } from '../support/wait.js';

const test = suite('rpc renewal');
const LOOK_MS = 30;
let ours: TestAuthority;

test.before(async () => {
  ours = await TestAuthority.make();
});

interface Lines {
  readonly log: Logger;
  readonly lines: string[];
}

function logOf(): Lines {
  const lines: string[] = [];
  return { log: pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }), lines };
}

/** A server that reads its certificate from the files of a folder; a blob of it comes in `limit` pieces, one each 100 ms. */
async function start(folder: string) {
  const { log, lines } = logOf();
  const tls = { ca: join(folder, 'ca.crt'), cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') };
  const security = Security.open({ tls, insecure: false, administrators: [], adminTokens: [] }, log, LOOK_MS);
  const server = await startServer(
    { host: '127.0.0.1', port: 0 },
    {
      services: [
        {
          definition: StorageStub.service,
          implementation: {
            Describe: make.unary(async () => ({ location: 'here', locationId: 'id' })),
            ReadBlob: make.serverStream<ReadBlobRequest__Output, ReadBlobResponse>(async ({ limit }, send) => {
              for (let size = 1; size <= limit; size++) {
                await send({ size });
                await sleep(100);
              }
            }),
          },
          proto: STORAGE_PROTO,
          callers: ['gateway'],
        },
      ],
      healthNames: ['entrepot.storage.read', 'entrepot.storage.write'],
      security,
    },
  );
  for (const name of ['read', 'write']) server.setHealth(`entrepot.storage.${name}`, true);
  atEnd(async () => {
    await server.stop(0);
    await security.close();
  });
  return { address: formatAddress(server.address), port: server.address.port, lines };
}

async function clientSecurity(name: string): Promise<Security> {
  const { log } = logOf();
  const tls = await ours.files('gateway', name);
  const security = Security.open({ tls, insecure: false, administrators: [], adminTokens: [] }, log, LOOK_MS);
  atEnd(() => security.close());
  return security;
}

async function client(address: string): Promise<StorageClient> {
  const security = await clientSecurity('us-1');
  const stub = new StorageStub(...security.dial(address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
  atEnd(() => stub.close());
  return stub;
}

async function write(folder: string, { cert, key }: Pair): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'ca.crt'), ours.authority.cert);
  await writeFile(join(folder, 'tls.key'), key);
  await writeFile(join(folder, 'tls.crt'), cert);
}

/** The serial number of the certificate that a new connection is shown. */
async function shown(port: number): Promise<string | undefined> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  try {
    await once(socket, 'secureConnect');
    return socket.getPeerX509Certificate()?.serialNumber;
  } finally {
    socket.destroy();
  }
}

/** Passes connections on, and counts them. */
async function relay(to: string): Promise<{ address: string; made: () => number; open: () => number }> {
  let count = 0;
  const living = new Set<Socket>();
  const { port: target, hostname } = new URL(`http://${to}`);
  const server = createServer({ noDelay: true }, near => {
    count++;
    living.add(near);
    near.once('close', () => living.delete(near));
    const far = tcp(Number(target), hostname);
    far.setNoDelay();
    near.pipe(far).pipe(near);
    for (const [from, other] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => {});
      from.on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEnd(() => void server.close());
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, made: () => count, open: () => living.size };
}

const serial = ({ cert }: Pair) => new X509Certificate(cert).serialNumber;

async function readAll(stub: StorageClient, limit: number): Promise<number> {
  let last = 0;
  for await (const { size } of readMessages<ReadBlobResponse__Output>(stub.readBlob({ limit }))) last = size;
  return last;
}

test('a replaced certificate is shown to new connections, and a stream over an old one goes on', async () => {
  const folder = join(ours.folder, 'replaced');
  const [first, second] = [await ours.pair('storage-proxy'), await ours.pair('storage-proxy')];
  await write(folder, first);
  const { address, port } = await start(folder);
  assert.is(await shown(port), serial(first));
  const reading = readAll(await client(address), 5);
  reading.catch(() => {});
  await sleep(100);
  await write(folder, second);
  await soon('the new certificate', async () => assert.is(await shown(port), serial(second)));
  assert.is(await reading, 5);
});

test('what is half-written, or does not belong together, is not used, and is told once, with the name of the file', async () => {
  const folder = join(ours.folder, 'broken');
  const [first, second] = [await ours.pair('storage-proxy'), await ours.pair('storage-proxy')];
  await write(folder, first);
  const { address, port, lines } = await start(folder);
  const stub = await client(address);
  const warnings = () => lines.filter(line => line.includes('are kept'));
  const stays = async (expected: RegExp, count: number) => {
    await soon('the warning', async () => assert.match(warnings().at(-1) ?? '', expected));
    await sleep(LOOK_MS * 5);
    assert.is(warnings().length, count, warnings().join());
    assert.is(await shown(port), serial(first));
    assert.is((await callUnary(stub.describe.bind(stub), {})).location, 'here');
  };
  await writeFile(join(folder, 'tls.key'), second.key);
  await stays(/the key in .*broken\/tls\.key is not that of the certificate in .*broken\/tls\.crt/, 1);
  await writeFile(join(folder, 'tls.crt'), second.cert.slice(0, 300));
  await stays(/broken\/tls\.crt holds no certificate, or not all of it/, 2);
  await rm(join(folder, 'ca.crt'));
  await stays(/ENOENT.*broken\/ca\.crt/, 3);
  assert.not.match(lines.join(), second.key.split('\n')[1] ?? '?');
  await write(folder, second);
  await soon('the new certificate', async () => assert.is(await shown(port), serial(second)));
});

test('a secret whose symbolic link is swapped, as Kubernetes does it', async () => {
  const folder = join(ours.folder, 'secret');
  const [first, second] = [await ours.pair('storage-proxy'), await ours.pair('storage-proxy')];
  await write(join(folder, '..2026_1'), first);
  await symlink('..2026_1', join(folder, '..data'));
  for (const file of ['ca.crt', 'tls.crt', 'tls.key']) await symlink(`..data/${file}`, join(folder, file));
  const { port } = await start(folder);
  assert.is(await shown(port), serial(first));
  await write(join(folder, '..2026_2'), second);
  await symlink('..2026_2', join(folder, '..data_tmp'));
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  await rm(join(folder, '..2026_1'), { recursive: true });
  await soon('the new certificate', async () => assert.is(await shown(port), serial(second)));
});

test('connections are renewed: calls never fail, a stream that lasts longer than its connection’s age ends well', async () => {
  const folder = join(ours.folder, 'aged');
  await write(folder, await ours.pair('storage-proxy'));
  const { address: behind } = await start(folder);
  const { address, made, open } = await relay(behind);
  const security = await clientSecurity('us-1');
  const renewed = security.renewed(StorageStub, address, 'storage-proxy', channelOptions(NEAR_WINDOW), 150);
  atEnd(() => renewed.close());
  // Longer than the keepalive of the old connection, too.
  const reading = readAll(renewed.client, 15);
  reading.catch(() => {});
  let calls = 0;
  const stop = Date.now() + 20_000;
  while ((calls <= 50 || made() <= 5) && Date.now() < stop) {
    const { client } = renewed;
    await callUnary(client.describe.bind(client), {});
    calls++;
  }
  assert.ok(calls > 50, `${calls}`);
  assert.ok(made() > 5, `${made()} connections`);
  assert.is(await reading, 15);
  await soon('the end of the old connections', async () => assert.ok(open() <= 2, `${open()} are open`));
});

test('who follows a node’s health does so over one connection after the other, and never takes the node for lost', async () => {
  const folder = join(ours.folder, 'followed');
  await write(folder, await ours.pair('storage-proxy'));
  const { address: behind } = await start(folder);
  const { address, made } = await relay(behind);
  const { log, lines } = logOf();
  const node = new StorageNode({
    address,
    location: 'here',
    wideStreams: undefined,
    identify: async () => true,
    security: await clientSecurity('us-2'),
    connectionAgeMs: 100,
    log,
  });
  atEnd(() => node.close());
  await soon('the node', async () => assert.ok(node.serves('read') && node.serves('write')));
  const stop = Date.now() + 20_000;
  while (made() <= 5 && Date.now() < stop) {
    assert.ok(node.serves('read') && node.serves('write'));
    await sleep(10);
  }
  assert.ok(made() > 2, `${made()} connections`);
  assert.equal(lines, []);
});

test.run();
