/**
 * What operations cost in a large registry: `npm run bench:admin`. The rows are generated; the processes are real.
 *
 * ENTREPOT_BENCH_BLOBS: how many blobs for the first part (default 10,000,000; they take some 20 GB and a quarter of an hour).
 * ENTREPOT_BENCH_BACKFILL: how many for the second (default 1,000,000).
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { BackfillReplicationResponse__Output } from '../../proto/generated/entrepot/admin/v1/BackfillReplicationResponse.js';
import { adminClient, call, read, startAdmin } from '../support/admin.js';
import { freshMetadata } from '../support/clients.js';
import { ociClient } from '../support/oci-client.js';
import { startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const HOUR_MS = 3_600_000;
const test = suite('bench: operations', { timeoutMs: HOUR_MS, fileTimeoutMs: 2 * HOUR_MS });
const BLOBS = Number(process.env.ENTREPOT_BENCH_BLOBS ?? 10_000_000);
const BACKFILL = Number(process.env.ENTREPOT_BENCH_BACKFILL ?? 1_000_000);
const PIECE = 250_000;

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  atEnd(() => client.end());
  return client;
}

/** Makes so many blobs, and puts each where `inLocation` (an SQL condition on `n` and `l.name`) says. */
async function generate(client: pg.Client, blobs: number, inLocation: string): Promise<void> {
  for (let from = 0; from < blobs; from += PIECE) {
    const to = Math.min(from + PIECE, blobs);
    await client.query(
      `with made as (
         insert into imagestorage (image_size, content_checksum)
         select 1000 + n % 1000, 'sha256:' || encode(sha256(('bench ' || n)::bytea), 'hex') from generate_series($1::int, $2::int) n
         returning id)
       insert into imagestorageplacement (storage_id, location_id, verified_at)
       select m.id, l.id, now() from (select id, id as n from made) m cross join imagestoragelocation l where ${inLocation}`,
      [from + 1, to],
    );
    process.stdout.write(`   ${to} blobs\r`);
  }
  await client.query('vacuum analyze');
}

function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
}
const ms = (value: number) => `${value.toFixed(1)} ms`;

async function timed(times: number, what: () => Promise<unknown>): Promise<string> {
  const took: number[] = [];
  for (let n = 0; n < times; n++) {
    const began = performance.now();
    await what();
    took.push(performance.now() - began);
  }
  return `median ${ms(quantile(took, 0.5))}, slowest ${ms(Math.max(...took))}`;
}

test(`${BLOBS} blobs in 3 locations: ListLocations, and the first answer of WatchReplication`, async () => {
  const m = await freshMetadata();
  await m.places.register(['apstorage']);
  const client = await connected(m.url);
  const began = performance.now();
  await generate(client, BLOBS, "l.name <> 'apstorage' or n % 10 > 0");
  const [ap] = (await client.query("select id from imagestoragelocation where name = 'apstorage'")).rows;
  await client.query(
    'insert into replication (storage_id, location_id) select id, $1 from imagestorage where id % 10 = 0',
    [ap.id],
  );
  await client.query('vacuum analyze replication');
  console.log(`   generated in ${Math.round((performance.now() - began) / 1_000)} s`);
  const admin = await startAdmin(m);
  const list = () => call(admin.ListLocations.bind(admin), {});
  console.log(`   ListLocations: ${await timed(50, list)}`);
  console.log(`   WatchReplication, its first answer: ${await timed(50, () => read(admin.WatchReplication({}), 1))}`);
  const { locations } = await list();
  console.log(`   ${locations.map(each => `${each.name}: ${each.blobs} there, ${each.missing} missing`).join('; ')}`);
});

/** Resident memory of a process, in MB. */
function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

test(`a backfill of ${BACKFILL} blobs in 2 locations, and manifests meanwhile`, async () => {
  const stack = await startStack();
  const client = ociClient(stack.us);
  atEnd(() => client.close());
  const { digest } = await client.pushManifest('team/app', 'v1', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [],
  });
  const admin: AdminClient = adminClient(`127.0.0.1:${stack.ports['worker-us']}`);
  // What is generated is in no store: nothing is to be copied.
  for (const location of ['usstorage', 'eustorage']) await call(admin.PauseLocation.bind(admin), { location });
  const sql = await connected(stack.databaseUrl);
  await generate(sql, BACKFILL, "l.name = 'usstorage'");
  await sql.query(`insert into repository (namespace_user_id, name)
                   select u.id, 'bench' || n from "user" u, generate_series(1, 100) n where u.username = 'team'`);
  await sql.query(`insert into uploadedblob (repository_id, blob_id, expires_at)
                   select r.id, s.id, now() from imagestorage s join repository r on r.name = 'bench' || (1 + s.id % 100)`);
  await sql.query('vacuum analyze');

  const manifestGets = async (isOver: () => boolean) => {
    const took: number[] = [];
    while (!isOver()) {
      const began = performance.now();
      await client.request('GET', `/v2/team/app/manifests/${digest}`);
      took.push(performance.now() - began);
      await sleep(5);
    }
    return took;
  };
  const usualUntil = performance.now() + 15_000;
  const usual = await manifestGets(() => performance.now() > usualUntil);
  const worker = stack.part('worker-us').pid;
  const before = residentMb(worker);
  let most = before;
  const sampling = setInterval(() => {
    most = Math.max(most, residentMb(worker));
  }, 100);
  let over = false;
  const meanwhile = manifestGets(() => over);
  const began = performance.now();
  const messages = await read<BackfillReplicationResponse__Output>(admin.BackfillReplication({}));
  const seconds = (performance.now() - began) / 1_000;
  over = true;
  clearInterval(sampling);
  console.log(`   backfill: ${seconds.toFixed(1)} s, ${JSON.stringify(messages.at(-1)?.progress?.locations)}`);
  console.log(`   worker's memory: ${before.toFixed(0)} MB before, at most ${most.toFixed(0)} MB`);
  const p99 = (took: readonly number[]) =>
    `p50 ${ms(quantile(took, 0.5))}, p99 ${ms(quantile(took, 0.99))} (${took.length})`;
  console.log(`   manifest GETs: usually ${p99(usual)}; meanwhile ${p99(await meanwhile)}`);
});

test.run();
