/** What the statements promise: one truth, also when many ask at once. */
import { randomUUID } from 'node:crypto';
import * as assert from 'uvu/assert';
import { Adoption } from '../../lib/metadata/adoption.js';
import type { RepositoryName } from '../../lib/oci/name.js';
import { freshMetadata, type Metadata, openMetadata, twoRegions } from '../support/clients.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { imageOf, newDigest, newRepository, pushed, repository, tag, transaction } from '../support/rows.js';
import { suite } from '../support/suite.js';

const test = suite('metadata: registry');
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
});

const recorded = (repo: RepositoryName, location?: string) => pushed(m, repo, location);

test('a blob is found in its repository only, with the locations that hold it', async () => {
  const [mine, other] = [newRepository(), newRepository()];
  const digest = await recorded(mine);
  assert.equal((await m.blobs.find(mine, digest)).blob, { size: 7, locations: ['usstorage'] });
  assert.equal(await m.blobs.find(other, digest), { repositoryKnown: false });
  await recorded(other);
  assert.equal(await m.blobs.find(other, digest), { repositoryKnown: true });
});

test('what is remembered of a manifest for an outage of the database is small: not its bytes', async () => {
  const proxy = new DatabaseProxy();
  const { manifests } = openMetadata(await proxy.through(m.url));
  const [repo, v1] = [newRepository(), tag('v1')];
  const image = imageOf([await recorded(repo)]);
  await manifests.put({ repository: repo, ...image, tags: [v1], traceId: 'a'.repeat(32) });
  assert.equal((await manifests.find(repo, { tag: v1 })).manifest?.bytes, image.bytes);
  proxy.cut();
  const { manifest } = await manifests.find(repo, { tag: v1 });
  assert.is(manifest?.digest, image.digest);
  assert.is(manifest?.bytes, undefined);
});

test('a manifest that is deleted while it is pushed again is there afterwards', async () => {
  const [repo, v1] = [newRepository(), tag('v1')];
  const image = imageOf([await recorded(repo)]);
  const push = () => m.manifests.put({ repository: repo, ...image, tags: [v1], traceId: 'a'.repeat(32) });
  await push();
  const { run, untilWaiting } = await transaction(m);
  await run.query('select 1 from manifest where digest = $1 for update', [image.digest]);
  const again = push();
  await untilWaiting();
  await run.query('delete from manifest where digest = $1', [image.digest]);
  await run.query('commit');
  assert.equal(await again, { kind: 'stored' });
  assert.is((await m.manifests.find(repo, { tag: v1 })).manifest?.digest, image.digest);
});

test('a tag begins no earlier than it ended before, also after the clock was set back', async () => {
  const [repo, v1] = [newRepository(), tag('v1')];
  const image = imageOf([await recorded(repo)]);
  const push = () => m.manifests.put({ repository: repo, ...image, tags: [v1], traceId: 'a'.repeat(32) });
  const spans = () =>
    m.db.query(
      `select t.lifetime_start_ms as start, t.lifetime_end_ms as end from tag t join manifest n on n.id = t.manifest_id
        where n.digest = $1 order by t.id`,
      [image.digest],
    );
  await push();
  await m.tags.remove(repo, v1);
  await m.db.query('update tag set lifetime_end_ms = lifetime_end_ms + 60000 where lifetime_end_ms is not null');
  await push();
  await m.tags.remove(repo, v1);
  const [first, second] = await spans();
  assert.ok(Number(second?.start) >= Number(first?.end), `${second?.start} is before ${first?.end}`);
  assert.ok(Number(second?.end) > Number(second?.start));
});

test('forty pushes that make the same new repository, at once, all succeed', async () => {
  const repo = newRepository();
  const digests = await Promise.all(Array.from({ length: 40 }, () => recorded(repo)));
  const found = await Promise.all(digests.map(digest => m.blobs.find(repo, digest)));
  assert.ok(found.every(answer => answer.blob));
  const rows = await m.db.query(
    'select count(*)::int as n from repository r join "user" u on u.id = r.namespace_user_id where u.username = $1',
    [repo.split('/')[0]],
  );
  assert.is(rows[0]?.n, 1);
});

test('a name of one component lives in the library namespace', async () => {
  const digest = await recorded(repository('alpine'));
  assert.ok((await m.blobs.find(repository('library/alpine'), digest)).blob);
});

test('mount: from where it is, from anywhere, never from where it is not', async () => {
  const [from, to] = [newRepository(), newRepository()];
  const digest = await recorded(from);
  assert.is(await m.blobs.mount({ repository: to, digest, from: newRepository(), traceId: '' }), undefined);
  assert.equal(await m.blobs.find(to, digest), { repositoryKnown: false });
  assert.equal(await m.blobs.mount({ repository: to, digest, from, traceId: '' }), { size: 7 });
  assert.ok((await m.blobs.find(to, digest)).blob);
  const anywhere = { names: [], prefixes: [''] };
  assert.equal(await m.blobs.mount({ repository: newRepository(), digest, from: anywhere, traceId: '' }), { size: 7 });
  assert.is(await m.blobs.mount({ repository: to, digest: newDigest(), from: anywhere, traceId: '' }), undefined);
});

test("mount: what was taken over is nobody's, and for those who may pull everything", async () => {
  const digest = newDigest();
  await new Adoption(m.db).adopt('usstorage', [{ digest, size: 7 }], false);
  const mount = (names: string[], prefixes: string[]) =>
    m.blobs.mount({ repository: newRepository(), digest, from: { names, prefixes }, traceId: '' });
  assert.is(await mount([newRepository()], ['team/', 't']), undefined);
  assert.equal(await mount([], ['']), { size: 7 });
});

test('of several repositories that a blob may be mounted from, one must have it', async () => {
  const [has, other] = [newRepository(), newRepository()];
  const digest = await recorded(has);
  await recorded(other);
  const mount = (names: string[], prefixes: string[]) =>
    m.blobs.mount({ repository: newRepository(), digest, from: { names, prefixes }, traceId: '' });
  const full = has.includes('/') ? has : `library/${has}`;
  assert.equal(await mount([other, full], []), { size: 7 });
  assert.equal(await mount([], [full.slice(0, -1)]), { size: 7 });
  assert.is(await mount([], []), undefined);
  assert.is(await mount([`${full}x`, full.slice(0, -1)], [`${full}x`]), undefined);
  // What stands for something in a pattern of the database's stands for itself.
  assert.is(await mount([], ['%', '_']), undefined);
});

test('unlinking takes a blob out of one repository at once, and leaves it to the others', async () => {
  const [one, two] = [newRepository(), newRepository()];
  const digest = await recorded(one);
  await m.blobs.mount({ repository: two, digest, from: one, traceId: '' });
  assert.ok(await m.blobs.unlink(one, digest));
  assert.not(await m.blobs.unlink(one, digest));
  assert.equal(await m.blobs.find(one, digest), { repositoryKnown: true });
  assert.ok((await m.blobs.find(two, digest)).blob);
});

test('upload: one writer at a time, a stale offset is told from a live writer, a lost lease is noticed', async () => {
  const repo = newRepository();
  const [uuid, writer, other] = [randomUUID(), randomUUID(), randomUUID()];
  const session = Buffer.from('s0');
  await m.uploads.create({ repository: repo, uuid, location: 'usstorage', session, algorithm: 'sha256' });
  const claim = await m.uploads.claim(repo, uuid, writer, 0);
  assert.is(claim.kind, 'claimed');
  assert.equal(await m.uploads.claim(repo, uuid, other, 0), { kind: 'busy' });
  assert.equal(await m.uploads.claim(repo, uuid, other, 5), { kind: 'offset', byteCount: 0 });
  assert.equal(await m.uploads.claim(newRepository(), uuid, other), { kind: 'unknown' });
  assert.is(await m.uploads.checkpoint(uuid, writer, { byteCount: 3, session: Buffer.from('s1') }), 'held');
  assert.is(await m.uploads.checkpoint(uuid, other, { byteCount: 9, session }), 'lost');
  assert.is(await m.uploads.release(uuid, writer, { byteCount: 5, session: Buffer.from('s2') }), 'held');
  assert.is(await m.uploads.checkpoint(uuid, writer, { byteCount: 9, session }), 'lost');
  const found = await m.uploads.find(repo, uuid);
  assert.is(found?.byteCount, 5);
  assert.is(found?.session.toString(), 's2');
});

test('upload: of two that finish it, one does; a finished one is gone', async () => {
  const repo = newRepository();
  const uuid = randomUUID();
  const digest = newDigest();
  await m.uploads.create({
    repository: repo,
    uuid,
    location: 'usstorage',
    session: Buffer.alloc(0),
    algorithm: 'sha256',
  });
  const finish = (byteCount: number) =>
    m.uploads.finish({
      repository: repo,
      uuid,
      held: { byteCount },
      digest,
      size: 0,
      location: 'usstorage',
      traceId: '',
    });
  assert.is(await finish(4), 'changed');
  assert.equal((await m.blobs.find(repo, digest)).blob, undefined);
  const outcomes = await Promise.all([finish(0), finish(0), finish(0)]);
  assert.is(outcomes.filter(each => each === 'done').length, 1);
  assert.ok((await m.blobs.find(repo, digest)).blob);
  assert.is(await m.uploads.find(repo, uuid), undefined);
});

test('manifest: stored only when the repository has every blob, and says which are missing', async () => {
  const repo = newRepository();
  const [here, absent] = [await recorded(repo), newDigest()];
  const image = imageOf([here, absent]);
  const put = { repository: repo, ...image, tags: [tag('v1')], traceId: '' };
  assert.equal(await m.manifests.put(put), { kind: 'blobs-missing', digests: [absent] });
  assert.equal(await m.manifests.find(repo, { tag: tag('v1') }), { repositoryKnown: true });
  await m.blobs.record({ repository: repo, digest: absent, size: 7, location: 'usstorage', traceId: '' });
  assert.equal(await m.manifests.put(put), { kind: 'stored' });
  const found = await m.manifests.find(repo, { tag: tag('v1') });
  assert.equal(found.manifest?.bytes, image.bytes);
  assert.is(found.manifest?.mediaType, image.facts.mediaType);
  assert.is((await m.manifests.find(repo, { digest: image.digest }, image.digest)).manifest?.bytes, undefined);
});

test('manifest: where images may be sparse, one is stored with the blobs that are there, and says which are not', async () => {
  const sparse = openMetadata(m.url, { ...twoRegions, sparseImages: true });
  const repo = newRepository();
  const [present, absent] = [await recorded(repo), newDigest()];
  const image = imageOf([present, absent]);
  const put = () => sparse.manifests.put({ repository: repo, ...image, tags: [tag('v1')], traceId: '' });
  assert.equal(await put(), { kind: 'stored', absent: [absent] });
  assert.is((await m.manifests.find(repo, { tag: tag('v1') })).manifest?.digest, image.digest);
  const linked = () =>
    m.db.query(
      `select s.content_checksum as digest from manifestblob mb join imagestorage s on s.id = mb.blob_id
         join manifest m on m.id = mb.manifest_id where m.digest = $1`,
      [image.digest],
    );
  assert.equal(await linked(), [{ digest: present }]);
  await m.blobs.record({ repository: repo, digest: absent, size: 7, location: 'usstorage', traceId: 'f'.repeat(32) });
  assert.equal(await put(), { kind: 'stored' });
  assert.is((await linked()).length, 2);
});

test('manifest: a push that is refused leaves no repository behind', async () => {
  const repo = newRepository();
  const answer = await m.manifests.put({ repository: repo, ...imageOf([newDigest()]), tags: [tag('v1')], traceId: '' });
  assert.is(answer.kind, 'blobs-missing');
  assert.equal(await m.manifests.find(repo, { tag: tag('v1') }), { repositoryKnown: false });
});

test('tags: sixty movers of one tag at once leave one living row and an unbroken history', async () => {
  const repo = newRepository();
  const blob = await recorded(repo);
  const images = Array.from({ length: 60 }, () => imageOf([blob]));
  await Promise.all(
    images.map(image => m.manifests.put({ repository: repo, ...image, tags: [tag('latest')], traceId: '' })),
  );
  const rows = await m.db.query(
    `select t.lifetime_start_ms::float8 as start, t.lifetime_end_ms::float8 as "end" from tag t join repository r on r.id = t.repository_id
       join "user" u on u.id = r.namespace_user_id where u.username = $1 order by t.lifetime_start_ms`,
    [repo.split('/')[0]],
  );
  assert.is(rows.length, 60);
  assert.is(rows.filter(row => row.end === null).length, 1);
  for (const [index, row] of rows.slice(0, -1).entries()) assert.is(row.end, rows[index + 1]?.start);
});

test('tags: listed in ASCII order, in pages; a deleted one is gone at once, its manifest stays', async () => {
  const repo = newRepository();
  const image = imageOf([await recorded(repo)]);
  const names = ['b', 'B', 'a', '_x', '10', '9', 'a-1', 'a.1'];
  await m.manifests.put({ repository: repo, ...image, tags: names.map(tag), traceId: '' });
  assert.equal((await m.tags.list(repo, { limit: 100 }))?.tags, ['10', '9', 'B', '_x', 'a', 'a-1', 'a.1', 'b']);
  assert.equal(await m.tags.list(repo, { limit: 2, last: '9' }), { tags: ['B', '_x'], more: true });
  assert.equal(await m.tags.list(repo, { limit: 2, last: 'a-1' }), { tags: ['a.1', 'b'], more: false });
  assert.equal(await m.tags.list(repo, { limit: 0 }), { tags: [], more: true });
  assert.ok(await m.tags.remove(repo, tag('a')));
  assert.not(await m.tags.remove(repo, tag('a')));
  assert.equal(await m.manifests.find(repo, { tag: tag('a') }), { repositoryKnown: true });
  assert.ok((await m.manifests.find(repo, { digest: image.digest })).manifest);
  assert.ok(await m.manifests.remove(repo, image.digest));
  assert.equal(await m.tags.list(repo, { limit: 100 }), { tags: [], more: false });
});

test('a store is put on record once; another one behind the same name is refused, also later', async () => {
  const fresh = await freshMetadata();
  const [first, second] = [randomUUID(), randomUUID()];
  const answers = await Promise.all([
    fresh.places.identify('usstorage', first),
    fresh.places.identify('usstorage', second),
  ]);
  assert.is(answers.filter(Boolean).length, 1);
  assert.is(await fresh.places.identify('usstorage', first), answers[0]);
  assert.is(await fresh.places.identify('usstorage', second), answers[1]);
});

test.run();
