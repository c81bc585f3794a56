/**
 * The whole of docs/backup.md, for real: a dump of the database while the registry runs, what comes after it, the loss of
 * the database, and the stores reconciled with the older one; and the other way round, a store that is older than the
 * database.
 */
import { randomBytes } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import * as assert from 'uvu/assert';
import { migrate } from '../../lib/metadata/migrate.js';
import { quiet } from '../support/clients.js';
import { run } from '../support/command.js';
import { command } from '../support/command-line.js';
import { startDebianPostgres } from '../support/debian-postgres.js';
import { type OciClient, ociClient, type PushedImage, sha256 } from '../support/oci-client.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('a backup is restored', { needs: ['postgresql'], timeoutMs: 120_000, fileTimeoutMs: 300_000 });

const withDatabase: readonly PartName[] = ['worker-us', 'worker-eu', 'gateway-us', 'gateway-eu'];
const locations = ['usstorage', 'eustorage'] as const;
const HOUR_MS = 60 * 60_000;

let server: string;
let folder: string;
let stack: Stack;
let us: OciClient;
let eu: OciClient;
/** The bytes of each layer that was ever pushed. */
const bytesOf = new Map<string, Buffer>();

test.before(async () => {
  server = (await startDebianPostgres()).url;
  folder = await temporaryFolder('backup');
  await inServer('create database entrepot');
  stack = await startStack({ databaseUrl: urlOf('entrepot') });
  us = ociClient(stack.us);
  eu = ociClient(stack.eu);
  atEnd(() => {
    us.close();
    eu.close();
  });
});

// One that failed may have left it paused.
test.before.each(async () => {
  await done('resume', 'eustorage');
});

function urlOf(database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

async function inServer(...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Runs the command beside the running registry. */
async function entrepot(...args: readonly string[]): Promise<{ status: number; text: string }> {
  const env = { ENTREPOT_ADMIN_SERVERS: `127.0.0.1:${stack.ports['worker-us']}` };
  const { status, stdout, stderr } = await command(args, { env });
  return { status, text: stdout + stderr };
}

async function done(...args: readonly string[]): Promise<string> {
  const { status, text } = await entrepot(...args);
  assert.is(status, 0, `${args.join(' ')}: ${text}`);
  return text;
}

async function pushed(client: OciClient, repository: string, tag: string, mark: string): Promise<PushedImage> {
  const layers = [randomBytes(20_000), Buffer.from(`a layer of ${mark}`), randomBytes(1_200_000)];
  for (const layer of layers) bytesOf.set(sha256(layer), layer);
  return client.pushImage(repository, tag, layers);
}

function bytesPushed(digest: string): Buffer {
  const bytes = bytesOf.get(digest);
  if (!bytes) throw new Error(`${digest} was not pushed`);
  return bytes;
}

/** All of an image, as a client of each region gets it. */
async function assertPulls(repository: string, tag: string, { digest, config, layers }: PushedImage): Promise<void> {
  for (const client of [us, eu]) {
    const manifest = await client.pullManifest(repository, tag);
    assert.is(manifest.digest, digest);
    assert.is(sha256(manifest.bytes), digest);
    for (const blob of [config, ...layers]) assert.is(sha256(await client.pullBlob(repository, blob)), blob);
  }
}

function fileOf(location: string, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(stack.storagePath(location), 'sha256', hex.slice(0, 2), hex);
}

/** What was written by now counts as old: an object that is young may still get its record, and is waited for. */
async function timePasses(): Promise<void> {
  const then = new Date(Date.now() - 2 * HOUR_MS);
  for (const location of locations) {
    for (const name of await readdir(join(stack.storagePath(location), 'sha256'), { recursive: true })) {
      const file = join(stack.storagePath(location), 'sha256', name);
      if ((await stat(file)).isFile()) await utimes(file, then, then);
    }
  }
}

/** The digests that `entrepot verify` lists as being in the store and not on record. */
const strangersIn = (text: string) =>
  [...text.matchAll(/^unreferenced (sha256:\w+)/gm)].map(([, digest]) => digest).sort();

test('an older database, newer stores', async () => {
  const old = await pushed(us, 'team/app', '1', 'old');
  const moved = await pushed(eu, 'team/app', 'latest', 'moved');
  const deleted = await pushed(us, 'team/deleted', '1', 'deleted');
  await stack.replicated();
  // At the time of the dump one image is in us alone, one upload is under way, and one file has been lost, unseen.
  await done('pause', 'eustorage');
  const waiting = await pushed(us, 'team/waiting', '1', 'waiting');
  const half = randomBytes(50_000);
  const begun = await us.request('POST', '/v2/team/app/blobs/uploads/');
  const patched = await us.request('PATCH', String(begun.headers.location), { body: half });
  assert.is(patched.status, 202);
  await rm(fileOf('eustorage', old.layers[0] ?? ''));

  const dump = join(folder, 'entrepot.dump');
  await run('pg_dump', ['--format=custom', `--file=${dump}`, urlOf('entrepot')]);

  await done('resume', 'eustorage');
  const later = await pushed(eu, 'team/later', '1', 'later');
  const newer = await pushed(us, 'team/app', 'latest', 'newer');
  const gone = await us.request('DELETE', `/v2/team/deleted/manifests/${deleted.digest}`);
  assert.is(gone.status, 202);
  const next = String(patched.headers.location);
  const closing = `${next}${next.includes('?') ? '&' : '?'}digest=${sha256(half)}`;
  assert.is((await us.request('PUT', closing)).status, 201);
  await stack.replicated();

  // The database is lost. Nothing that has a connection to it runs while it is made again.
  for (const part of withDatabase) await stack.kill(part);
  await timePasses();
  await inServer('drop database entrepot with (force)', 'create database entrepot');
  await run('pg_restore', ['--exit-on-error', '--no-owner', `--dbname=${urlOf('entrepot')}`, dump]);
  await migrate(urlOf('entrepot'), quiet);
  for (const kind of ['worker', 'gateway']) {
    await Promise.all(withDatabase.filter(part => part.startsWith(kind)).map(part => stack.start(part)));
  }

  // From the first moment on it is the registry of the dump, and nothing else.
  await assertPulls('team/app', 'latest', moved);
  await assertPulls('team/deleted', '1', deleted);
  assert.is((await eu.request('GET', '/v2/team/later/manifests/1')).status, 404);
  for (const { digest } of [later, newer])
    assert.is((await eu.request('GET', `/v2/team/app/manifests/${digest}`)).status, 404);
  for (const blob of [...later.layers, ...newer.layers])
    assert.is((await eu.request('GET', `/v2/team/app/blobs/${blob}`)).status, 404);
  // The upload that was under way at the dump has its bytes in the store already.
  assert.is((await us.request('PUT', closing)).status, 201);
  assert.ok((await us.pullBlob('team/app', sha256(half))).equals(half));

  // What the stores have: copies of what is on record count again, without crossing. (eu is paused, as at the dump.)
  const large = fileOf('eustorage', waiting.layers[2] ?? '');
  const crossed = (await stat(large)).mtimeMs;
  for (const location of locations) await done('adopt', location);
  await done('resume', 'eustorage');
  await done('watch');
  assert.is((await stat(large)).mtimeMs, crossed, 'it was not copied again');

  // What came later and nobody refers to is let go of, and listed; what the store lacks is made again.
  const known = new Set(
    (await stack.sql('select content_checksum as digest from imagestorage')).map(row => row.digest),
  );
  const expected = [...later.layers, later.config, ...newer.layers, newer.config].sort();
  for (const digest of expected) assert.ok(known.has(digest));
  for (const location of locations) assert.match(await done('adopt', location, '--release'), '8 blobs');
  const inUs = await done('verify', 'usstorage', '--digest');
  assert.equal(strangersIn(inUs), expected);
  const inEu = await entrepot('verify', 'eustorage', '--digest');
  assert.is(inEu.status, 1, 'something was missing');
  assert.match(inEu.text, `missing ${old.layers[0]}`);
  assert.equal(strangersIn(inEu.text), expected);
  await done('watch');
  await done('verify', 'eustorage', '--digest');

  // Each region has all of it.
  for (const [repository, tag, image] of [
    ['team/app', '1', old],
    ['team/app', 'latest', moved],
    ['team/deleted', '1', deleted],
    ['team/waiting', '1', waiting],
  ] as const) {
    await assertPulls(repository, tag, image);
    await done('image', `${repository}:${tag}`);
    for (const location of locations) {
      for (const blob of [image.config, ...image.layers])
        assert.is(sha256(await readFile(fileOf(location, blob))), blob);
    }
  }

  // What came later is pushed again, by who has it.
  await eu.pushImage('team/later', '1', later.layers.map(bytesPushed));
  await assertPulls('team/later', '1', later);
});

test('an older store, a newer database', async () => {
  const before = await pushed(us, 'team/before', '1', 'before');
  await stack.replicated();
  const snapshot = join(folder, 'snapshot');
  await cp(stack.storagePath('usstorage'), snapshot, { recursive: true });
  const after = await pushed(us, 'team/after', '1', 'after');
  await stack.replicated();
  await done('pause', 'eustorage');
  const onlyThere = await pushed(us, 'team/only-there', '1', 'only there');

  await stack.kill('storage-proxy-us');
  await rm(stack.storagePath('usstorage'), { recursive: true });
  await cp(snapshot, stack.storagePath('usstorage'), { recursive: true });
  await timePasses();
  await stack.start('storage-proxy-us');

  // Pulls go around what it lacks, before anybody has looked.
  await assertPulls('team/before', '1', before);
  await assertPulls('team/after', '1', after);
  const verified = await entrepot('verify', 'usstorage');
  assert.is(verified.status, 1);
  for (const blob of [after.config, ...after.layers])
    assert.match(verified.text, new RegExp(`^missing ${blob}.*will be made again from another location`, 'm'));
  for (const blob of [onlyThere.config, ...onlyThere.layers])
    assert.match(verified.text, new RegExp(`^missing ${blob}.*push the blob again`, 'm'));

  // What was nowhere else is lost, and said to be; a push mends it.
  assert.is((await entrepot('image', 'team/only-there:1')).status, 1);
  const lost = await us.request('GET', `/v2/team/only-there/blobs/${onlyThere.layers[0]}`);
  assert.ok(lost.status >= 400, String(lost.status));
  await us.pushImage('team/only-there', '1', onlyThere.layers.map(bytesPushed));
  await done('resume', 'eustorage');
  await done('watch');
  await assertPulls('team/only-there', '1', onlyThere);
  await done('verify', 'usstorage', '--digest');
  for (const blob of after.layers) assert.is(sha256(await readFile(fileOf('usstorage', blob))), blob);
});

test('an empty store in the place of a lost one, with its marker', async () => {
  const image = await pushed(us, 'team/kept', '1', 'kept');
  await stack.replicated();
  await stack.kill('storage-proxy-us');
  await rm(stack.storagePath('usstorage'), { recursive: true });
  await mkdir(stack.storagePath('usstorage'));
  const [row] = await stack.sql(
    `select s.marker from locationstate s join imagestoragelocation l on l.id = s.location_id where l.name = 'usstorage'`,
  );
  await writeFile(join(stack.storagePath('usstorage'), '.entrepot-location'), `${row?.marker}\n`);
  await stack.start('storage-proxy-us');
  await assertPulls('team/kept', '1', image);
  assert.is((await entrepot('verify', 'usstorage')).status, 1, 'all of it was missing');
  await done('watch');
  await done('verify', 'usstorage', '--digest');
  for (const blob of [image.config, ...image.layers])
    assert.is(sha256(await readFile(fileOf('usstorage', blob))), blob);
});

test.run();
