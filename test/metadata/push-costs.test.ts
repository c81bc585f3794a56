/** What is done to a repository costs the same however many manifests and tags it has, whatever the planner knows of them. */
import type pg from 'pg';
import type { Digest } from '../../lib/oci/digest.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { assertSameCosts, pagesOf, plannerKnowledge } from '../support/costs.js';
import { type Image, imageOf, indexOf, pushed, put, repository, session } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: what a push costs');
const [FEW, MANY] = [1_000, 6_000];
const TABLES = ['repository', 'uploadedblob', 'manifest', 'manifestblob', 'manifestchild', 'tag'];
const repo = repository('team/app');
const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';

let m: Metadata;
let client: pg.Client;
/** The first two blobs there are. */
let base: Digest;
let own: Digest;
let image: Image;
let children: Image[];

test.before(async () => {
  m = await freshMetadata();
  client = await session(m);
  // What is known of these tables is what this test lets be known.
  for (const table of TABLES) await client.query(`alter table ${table} set (autovacuum_enabled = false)`);
  base = await pushed(m, repo);
  own = await pushed(m, repo);
  image = imageOf([base]);
});

/**
 * So many manifests of the repository, numbered from `first` on: a tag points to each, and one pointed to each for a while. Every
 * third is an index of the one before it, and each has the first blob and one of its own. As many other repositories have that
 * first blob. Without triggers and foreign keys.
 */
async function filled(first: number, count: number): Promise<void> {
  await client.query('set session_replication_role = replica');
  await client.query(
    `with new as (
       insert into manifest (repository_id, digest, media_type_id, manifest_bytes, child_digests)
       select (select min(id) from repository), 'sha256:' || n, mediatype_id($3), convert_to('manifest ' || n, 'UTF8'),
              case when n % 3 = 0 then array['sha256:' || n - 1] else '{}' end
         from generate_series($1::bigint, $1 + $2 - 1) n
       returning id, repository_id),
     linked as (
       insert into manifestblob (repository_id, manifest_id, blob_id)
       select repository_id, id, unnest(array[1, 1000 + id]) from new),
     other as (
       insert into repository (namespace_user_id, name) select (select min(id) from "user"), 'r' || id from new returning id),
     lent as (
       insert into uploadedblob (repository_id, blob_id, expires_at) select id, 1, now() from other)
     insert into tag (repository_id, name, manifest_id, lifetime_start_ms, lifetime_end_ms)
     select repository_id, 'v' || id, id, 1, null from new
     union all
     select repository_id, 'latest', id, id, id + 1 from new`,
    [first, count, MEDIA_TYPE],
  );
  await client.query('reset session_replication_role');
}

/** A statement and its values. */
type Statement = [string, unknown[]];

const PUT = `select put_manifest('team', 'app', $1, $2, $3, null, 0, null, null, '{}', $4, $5, $6, true, $7, '')`;
const putting = ({ digest, facts, bytes }: Image, tag = 'v', quorum = 1): Statement => [
  PUT,
  [digest, facts.mediaType, bytes, facts.blobs, facts.children, [tag], quorum],
];

/** What is measured. */
const statements: Record<string, () => Statement> = {
  'a push of an image': () => putting(image),
  'a push of an image as the latest': () => putting(image, 'latest'),
  'a push of an index': () => putting(indexOf(children)),
  'a push of what is there': () => putting(children[0] as Image),
  'a push that has to be in two locations': () => putting(image, 'v', 2),
  'a push of a blob that all have': () => [
    `select store_blob((select min(id) from repository), $1, 7, 'usstorage', true, '')`,
    [base],
  ],
  'a mount of it': () => [`select mount_blob_from('team', 'new', $1, array['team/app'], '{}', true, '')`, [base]],
  'a mount of it from where it is not': () => [
    `select mount_blob_from('team', 'new', $1, array['team/lib/other', 'team/unknown'], '{}', true, '')`,
    [base],
  ],
  'the last blob that comes': () => [
    `select note_arrivals(array[2], (select array_agg(id) from imagestoragelocation))`,
    [],
  ],
  'the end of a tag': () => [`select remove_tag('team', 'app', 'child')`, []],
  'a deletion': () => [`select remove_manifest('team', 'app', $1, 5)`, [children[0]?.digest]],
};

async function costs(): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const [name, statement] of Object.entries(statements)) found.set(name, await pagesOf(client, ...statement()));
  return found;
}

for (const [known, at] of plannerKnowledge(FEW, MANY)) {
  test(`a push costs the same with ${FEW} manifests and with ${MANY}: ${known}`, async () => {
    // Nothing is known of what is truncated.
    await client.query('truncate repository cascade');
    for (const digest of [base, own]) await pushed(m, repo, 'usstorage', digest);
    await pushed(m, repository('team/lib/other'), 'usstorage', own);
    children = [imageOf([own]), imageOf([own])];
    for (const child of children) await put(m, repo, child, 'child');
    if (at === 0) await client.query(`vacuum analyze ${TABLES.join()}`);
    await filled(1, FEW);
    if (at === FEW) await client.query(`analyze ${TABLES.join()}`);
    const few = await costs();
    await filled(FEW + 1, MANY - FEW);
    if (at === MANY) await client.query(`analyze ${TABLES.join()}`);
    const many = await costs();
    assertSameCosts(few, many);
  });
}

test.run();
