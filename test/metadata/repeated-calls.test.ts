/** Statements that are sent a second time, since their answer was lost: what others did in between stays as it is. */
import * as assert from 'uvu/assert';
import { AppliedCalls } from '../../lib/metadata/applied-calls.js';
import type { Digest } from '../../lib/oci/digest.js';
import type { RepositoryName } from '../../lib/oci/name.js';
import { freshMetadata, type Metadata, openMetadata } from '../support/clients.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { imageOf, newDigest, newRepository, pushed, put, session, tag } from '../support/rows.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('metadata: repeated calls');
const traceId = 'a'.repeat(32);
const proxy = new DatabaseProxy();
/** Somebody whose answers are lost, and everybody else. */
let unlucky: Metadata;
let m: Metadata;

test.before(async () => {
  m = await freshMetadata();
  unlucky = openMetadata(await proxy.through(m.url));
});

/** Runs a call whose first answer is lost; `meanwhile` happens before it is sent again. */
async function losing<T>(call: () => Promise<T>, meanwhile: () => Promise<unknown>): Promise<T> {
  // A connection of its own, which is there already.
  await unlucky.db.query('select 1');
  let lost = false;
  proxy.loseNextAnswer(async () => {
    lost = true;
    await meanwhile();
  });
  const answer = await call();
  assert.ok(lost, 'an answer was lost');
  return answer;
}

async function taggedAs(repo: RepositoryName): Promise<Digest | undefined> {
  return (await m.manifests.find(repo, { tag: tag('v1') })).manifest?.digest;
}

test('a push that is sent twice does not take the tag back from a push in between', async () => {
  const repo = newRepository();
  const [mine, other] = [imageOf([await pushed(m, repo)]), imageOf([await pushed(m, repo)])];
  const answer = await losing(
    () => put(unlucky, repo, mine, 'v1'),
    async () => {
      assert.is(await taggedAs(repo), mine.digest, 'it was committed');
      await put(m, repo, other, 'v1');
    },
  );
  assert.equal(answer, { kind: 'stored' });
  assert.is(await taggedAs(repo), other.digest);
});

test('nor does one that found the tag as it wants it', async () => {
  const repo = newRepository();
  const [mine, other] = [imageOf([await pushed(m, repo)]), imageOf([await pushed(m, repo)])];
  await put(m, repo, mine, 'v1');
  await losing(
    () => put(unlucky, repo, mine, 'v1'),
    () => put(m, repo, other, 'v1'),
  );
  assert.is(await taggedAs(repo), other.digest);
});

test('nor does it bring back a manifest that was deleted in between', async () => {
  const repo = newRepository();
  const mine = imageOf([await pushed(m, repo)]);
  await losing(
    () => put(unlucky, repo, mine, 'v1'),
    async () => assert.equal(await m.manifests.remove(repo, mine.digest), []),
  );
  assert.is((await m.manifests.find(repo, { digest: mine.digest })).manifest, undefined);
});

test('a push whose first sending is still at it when it comes again is applied once', async () => {
  const repo = newRepository();
  const [mine, other] = [imageOf([await pushed(m, repo)]), imageOf([await pushed(m, repo)])];
  await put(m, repo, imageOf([await pushed(m, repo)]), 'v1');
  await unlucky.db.query('select 1');
  const blocker = await session(m);
  await blocker.query('begin');
  await blocker.query('select from tag where repository_id = (select max(id) from repository) for update');
  const waiting = async (count: number) =>
    assert.ok(
      await until(async () => {
        const [row] = await m.db.query(
          `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return row?.n === count;
      }, 10_000),
      `${count} wait`,
    );
  const first = put(unlucky, repo, mine, 'v1');
  await waiting(1);
  const between = put(m, repo, other, 'v1');
  await waiting(2);
  // PostgreSQL does not look at a connection while it waits for a lock: the statement on it goes on.
  proxy.loseConnections();
  await waiting(3);
  await blocker.query('commit');
  await Promise.all([first, between]);
  assert.is(await taggedAs(repo), other.digest);
});

test('a push that lacked blobs the first time is looked at again', async () => {
  const repo = newRepository();
  const digest = newDigest();
  await pushed(m, repo);
  const image = imageOf([digest]);
  const answer = await losing(
    () => put(unlucky, repo, image, 'v1'),
    () => pushed(m, repo, 'usstorage', digest),
  );
  assert.equal(answer, { kind: 'stored' });
  assert.is(await taggedAs(repo), image.digest);
});

test('tagging what waited for its quorum does not take the tag back either', async () => {
  const repo = newRepository();
  const [mine, other] = [imageOf([await pushed(m, repo)]), imageOf([await pushed(m, repo)])];
  await put(m, repo, mine);
  await losing(
    () => unlucky.manifests.tag(repo, mine.digest, [tag('v1')], 100),
    () => put(m, repo, other, 'v1'),
  );
  assert.is(await taggedAs(repo), other.digest);
});

test('a blob whose copy turned out to be damaged in between is not recorded there again', async () => {
  const repo = newRepository();
  const digest = await pushed(m, repo, 'usstorage');
  const recorded = await losing(
    () => unlucky.blobs.record({ repository: repo, digest, size: 7, location: 'eustorage', traceId }),
    async () => assert.ok(await m.replication.distrust(digest, 'eustorage', 'damaged')),
  );
  assert.ok(recorded);
  assert.equal((await m.blobs.find(repo, digest)).blob?.locations, ['usstorage']);
});

test('the numbers of calls are forgotten after an hour', async () => {
  const repo = newRepository();
  await put(m, repo, imageOf([await pushed(m, repo)]), 'v1');
  await m.db.query(`update appliedcall set applied_at = applied_at - interval '61 minutes'`);
  await put(m, repo, imageOf([await pushed(m, repo)]), 'v1');
  await new AppliedCalls(m.db).forget();
  const [row] = await m.db.query('select count(*)::int as n from appliedcall');
  assert.is(row?.n, 2, 'a blob and a manifest');
});

test.run();
