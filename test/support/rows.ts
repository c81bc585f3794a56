/** What tests of the metadata put in, and what they look for: pushes, manifests, and rows of the queue. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { type ManifestFacts, readManifest } from '../../lib/oci/manifest.js';
import { parseRepository, parseTag, type RepositoryName, type Tag } from '../../lib/oci/name.js';
import { claimAll } from './claims.js';
import type { Metadata } from './clients.js';
import { atEnd } from './suite.js';
import { until } from './wait.js';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
/** Of every push of these. */
export const traceId = 'a'.repeat(32);
let counter = 0;

export function repository(name: string): RepositoryName {
  const parsed = parseRepository(name);
  if (!parsed) throw new Error(`bad name ${name}`);
  return parsed;
}

/** A repository in a namespace of its own. */
export function newRepository(): RepositoryName {
  return repository(`ns${++counter}/app`);
}

export function namespaceOf(name: RepositoryName): string {
  return name.split('/')[0] ?? '';
}

export function tag(name: string): Tag {
  const parsed = parseTag(name);
  if (!parsed) throw new Error(`bad tag ${name}`);
  return parsed;
}

export function newDigest(): Digest {
  return digestOf(randomBytes(16));
}

/** Records a blob as a push does. */
export async function pushed(
  m: Metadata,
  repo: RepositoryName,
  location = 'usstorage',
  digest = newDigest(),
): Promise<Digest> {
  await m.blobs.record({ repository: repo, digest, size: 7, location, traceId });
  return digest;
}

export interface Image {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly facts: ManifestFacts;
}

export function imageOf(blobs: readonly Digest[]): Image {
  const [config, ...layers] = blobs.map(digest => ({ mediaType: 'application/x.y', digest, size: 7 }));
  return manifestOf(IMAGE, { config, layers });
}

export function indexOf(children: readonly Image[]): Image {
  const manifests = children.map(({ digest, bytes }) => ({ mediaType: IMAGE, digest, size: bytes.length }));
  return manifestOf(INDEX, { manifests });
}

function manifestOf(mediaType: string, fields: object): Image {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...fields, n: ++counter }));
  return { bytes, digest: digestOf(bytes), facts: readManifest(bytes, mediaType) };
}

export function put(m: Metadata, repo: RepositoryName, image: Image, ...tags: string[]) {
  return m.manifests.put({ repository: repo, ...image, tags: tags.map(tag), traceId });
}

/** Where copies of a blob are still to be made. */
export async function queued(m: Metadata, digest: Digest): Promise<string[]> {
  const rows = await m.db.query(
    `select l.name from replication r join imagestorage s on s.id = r.storage_id
       join imagestoragelocation l on l.id = r.location_id where s.content_checksum = $1 order by l.name`,
    [digest],
  );
  return rows.map(row => String(row.name));
}

/** Claims every copy that is due, and records those of these blobs (of all, if absent) as made. */
export async function copied(m: Metadata, target: string, only?: readonly Digest[]): Promise<void> {
  const jobs = await claimAll(m.replication, target);
  const isWanted = (digest: Digest) => only?.includes(digest) ?? true;
  await m.replication.giveBack(jobs.filter(job => !isWanted(job.digest)));
  await m.replication.complete(jobs.filter(job => isWanted(job.digest)));
}

/** Does all that a change of the required locations left to do. */
export async function requeued(m: Metadata): Promise<void> {
  while (await m.requeue.some()) {}
}

/** Makes the database as it was before the first push: three locations in use, two of them default ones. */
export async function emptied(m: Metadata): Promise<void> {
  await m.db.query(
    'truncate imagestorage, imagestorageplacement, replication, requeue, replicationgap, locationcount, "user" cascade',
  );
  await m.db.query(`update locationstate set state = 'active', paused = false`);
  await m.places.setDefaults(['usstorage', 'eustorage'], true);
  await requeued(m);
}

/** A connection of its own, for transactions that a test holds open; closed at the end of the suite. */
export async function session(m: Metadata): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: m.url });
  await client.connect();
  atEnd(() => client.end());
  return client;
}

/** Waits until somebody waits for the transaction of `client`. */
export async function untilWaitedFor(m: Metadata, client: pg.Client): Promise<void> {
  const { processID } = client as unknown as { processID: number };
  const isWaitedFor = async () => {
    const [row] = await m.db.query(
      'select count(*)::int as n from pg_stat_activity where $1::int = any (pg_blocking_pids(pid))',
      [processID],
    );
    return Number(row?.n) > 0;
  };
  if (!(await until(isWaitedFor, 10_000))) throw new Error('nothing waits for the transaction');
}

/** Begins `work`, and commits the transaction of `client` once it is waited for. */
export async function whileWaiting<T>(m: Metadata, client: pg.Client, work: () => Promise<T>): Promise<T> {
  const working = work();
  try {
    await untilWaitedFor(m, client);
  } finally {
    await client.query('commit');
  }
  return working;
}

/** A transaction that another client has begun, and a way to see that a statement of ours waits for it. */
export async function transaction(m: Metadata): Promise<{ run: pg.Client; untilWaiting: () => Promise<void> }> {
  const client = await session(m);
  await client.query('begin');
  return { run: client, untilWaiting: () => untilWaitedFor(m, client) };
}

/** `put`, in a transaction that somebody holds open. */
export async function putIn(client: pg.Client, repo: RepositoryName, image: Image, tagged: string): Promise<void> {
  const { facts } = image;
  await client.query(`select put_manifest($1, $2, $3, $4, $5, null, 0, null, null, '{}', $6, $7, $8, true, 1, '')`, [
    ...repo.split('/'),
    image.digest,
    facts.mediaType,
    image.bytes,
    facts.blobs,
    facts.children,
    [tagged],
  ]);
}

/** The events of an image, as `tag location`, sorted. */
export async function eventsOf(m: Metadata, image: Image): Promise<string[]> {
  const events = await m.events.after(0, 100_000);
  return events
    .filter(event => event.digest === image.digest)
    .map(event => `${event.tag} ${event.location}`)
    .sort();
}
