/** Two changes at the same moment: what one of them did not see yet is not lost, and no client hears of it. */
import type pg from 'pg';
import * as assert from 'uvu/assert';
import { freshMetadata, type Metadata } from '../support/clients.js';
import {
  emptied,
  imageOf,
  indexOf,
  newRepository,
  pushed,
  put,
  putIn,
  queued,
  requeued,
  session,
  whileWaiting,
} from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: two changes at once');
let m: Metadata;
let other: pg.Client;

test.before(async () => {
  m = await freshMetadata();
  other = await session(m);
});
test.before.each(async () => {
  await other.query('rollback');
  await emptied(m);
});

test('a mount without replication, while replication is switched on: its copies are queued', async () => {
  const [from, to] = [newRepository(), newRepository()];
  await m.namespaces.setLocations(from.split('/')[0] ?? '', { locations: ['usstorage'], replace: true });
  await requeued(m);
  const digest = await pushed(m, from);
  assert.equal(await queued(m, digest), []);
  await m.db.query('insert into replicationgap default values');
  await other.query('begin');
  await other.query('select mount_blob_from($1, $2, $3, $4, $5, false, $6)', [
    ...to.split('/'),
    digest,
    [from],
    [],
    '',
  ]);
  await whileWaiting(m, other, () => m.requeue.closeGap().then(() => requeued(m)));
  assert.equal(await queued(m, digest), ['eustorage']);
});

test('an index that is pushed while one of its children is deleted is stored without it', async () => {
  const repo = newRepository();
  const children = [imageOf([await pushed(m, repo)]), imageOf([await pushed(m, repo)])];
  for (const child of children) await put(m, repo, child);
  await other.query('begin');
  await other.query('select remove_manifest($1, $2, $3, 5)', [...repo.split('/'), children[0]?.digest]);
  const outcome = await whileWaiting(m, other, () => put(m, repo, indexOf(children), 'all'));
  assert.is(outcome.kind, 'stored');
  assert.is((await m.db.query('select 1 from manifestchild')).length, 1);
});

test('a child that is pushed while an index that lists it is deleted', async () => {
  const repo = newRepository();
  const child = imageOf([await pushed(m, repo)]);
  const index = indexOf([child]);
  await put(m, repo, index);
  await other.query('begin');
  await other.query('select remove_manifest($1, $2, $3, 5)', [...repo.split('/'), index.digest]);
  const outcome = await whileWaiting(m, other, () => put(m, repo, child, 'one'));
  assert.is(outcome.kind, 'stored');
});

test('a child that is deleted while an index that lists it is pushed, after it', async () => {
  const repo = newRepository();
  const child = imageOf([await pushed(m, repo)]);
  await put(m, repo, child);
  const index = indexOf([child]);
  await other.query('begin');
  await putIn(other, repo, index, 'all');
  const parents = await whileWaiting(m, other, () => m.manifests.remove(repo, child.digest));
  assert.equal(parents, [index.digest]);
});

test.run();
