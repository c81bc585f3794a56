/** Indexes that list very many manifests: pushed like any other, and without the locks that others need. */
import * as assert from 'uvu/assert';
import type { RepositoryName } from '../../lib/oci/name.js';
import { freshMetadata, type Metadata } from '../support/clients.js';
import { type Image, imageOf, indexOf, newRepository, put, session, untilWaitedFor } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: large indexes');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});

const images = (count: number): Image[] => Array.from({ length: count }, () => imageOf([]));

async function idOf(repo: RepositoryName): Promise<unknown> {
  const [row] = await m.db.query(
    `select r.id from repository r join "user" u on u.id = r.namespace_user_id where u.username || '/' || r.name = $1`,
    [repo],
  );
  return row?.id;
}

async function childrenOf(index: Image): Promise<unknown[]> {
  const rows = await m.db.query(
    `select child.digest from manifest i join manifestchild c on c.manifest_id = i.id
       join manifest child on child.id = c.child_manifest_id where i.digest = $1`,
    [index.digest],
  );
  return rows.map(row => row.digest);
}

test('one that lists very many takes next to nothing of the locks that the server has for everybody', async () => {
  const repo = newRepository();
  const children = images(20_000);
  const [first] = children as [Image];
  const index = indexOf(children);
  await put(m, repo, first);
  const other = await session(m);
  await other.query('begin');
  await other.query('select lock_manifests($1, $2)', [await idOf(repo), index.facts.children]);
  const { rows } = await other.query(
    `select count(*)::int as locks from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'`,
  );
  await other.query('rollback');
  assert.equal(rows, [{ locks: 1 }]);
  assert.is((await put(m, repo, index, 'v1')).kind, 'stored');
  assert.equal(await childrenOf(index), [first.digest]);
});

for (const count of [3, 300]) {
  test(`one of ${count} and its child that come at once do not miss each other`, async () => {
    const repo = newRepository();
    const children = images(count);
    const [first, second] = children as [Image, Image];
    const index = indexOf(children);
    await put(m, repo, imageOf([]));
    const id = await idOf(repo);
    const other = await session(m);
    const lock = (digests: readonly string[]) => other.query('select lock_manifests($1, $2)', [id, digests]);

    await other.query('begin');
    await lock([...index.facts.children, index.digest]);
    const child = put(m, repo, first);
    await untilWaitedFor(m, other);
    await other.query('commit');
    await child;

    await other.query('begin');
    await lock([second.digest]);
    const pushed = put(m, repo, index);
    await untilWaitedFor(m, other);
    await other.query('commit');
    await pushed;
    assert.equal(await childrenOf(index), [first.digest]);
  });
}

test('pushes into one repository do not wait for each other', async () => {
  const repo = newRepository();
  await put(m, repo, imageOf([]));
  const id = await idOf(repo);
  const other = await session(m);
  await other.query('begin');
  await other.query('select lock_manifests($1, $2)', [id, [imageOf([]).digest]]);
  assert.is((await put(m, repo, indexOf(images(3)))).kind, 'stored');
  await other.query('rollback');
});

test.run();
