/**
 * The end of a large copy: it does not wait for the database, and if it fails, what it had is on record, or else gone from
 * the target.
 */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import { fail } from '../../lib/rpc/errors.js';
import type { Metadata } from '../support/clients.js';
import { contentOf } from '../support/folder.js';
import type { Stack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';
import { claimCopies, putBlob, startTwoLocations, storeOf, upTo } from './copying.js';

const test = suite('worker: the end of a large copy');
const SIZE = 20 * 1024 * 1024;
let stack: Stack;
let m: Metadata;
let locations: Locations;

test.before(async () => {
  ({ stack, m, locations } = await startTwoLocations());
});

/** Checkpoints after the first get no answer from the database until `release`. */
function holdCheckpoints(): { release: () => void; held: () => number } {
  const save = m.replication.checkpoint.bind(m.replication);
  let open = () => {};
  let held = 0;
  const released = new Promise<void>(resolve => {
    open = resolve;
  });
  m.replication.checkpoint = async (job, checkpoint, first) => {
    if (!first) {
      held++;
      await released;
    }
    return save(job, checkpoint, first);
  };
  const release = () => {
    m.replication.checkpoint = save;
    open();
  };
  return { release, held: () => held };
}

test('the blob is committed and recorded while the last checkpoints are on their way to the database', async () => {
  const digest = await putBlob(m, locations, 'usstorage', randomBytes(SIZE));
  const { copies, jobs } = await claimCopies(m, locations, 'eustorage');
  const [job] = jobs;
  assert.ok(job);
  const { release, held } = holdCheckpoints();
  try {
    await finished(copies.one(job));
    assert.ok(held() > 0, 'some are on their way');
    assert.equal(await m.db.query('select 1 from replication'), []);
    assert.is(await storeOf(locations, 'eustorage').stat(digest), SIZE);
  } finally {
    release();
  }
});

test('a commit that fails waits until all that is there is on record', async () => {
  await putBlob(m, locations, 'usstorage', randomBytes(SIZE));
  const { copies, jobs } = await claimCopies(m, locations, 'eustorage');
  const [job] = jobs;
  assert.ok(job);
  const eu = storeOf(locations, 'eustorage');
  const commit = eu.commit.bind(eu);
  let tried = false;
  eu.commit = async () => {
    tried = true;
    throw fail.storeUnreachable('the target is away');
  };
  const { release } = holdCheckpoints();
  const offset = async () => {
    const [row] = await m.db.query('select bytes_done::int, lease_token from replication');
    return row;
  };
  try {
    const copy = copies.one(job);
    await soon('the commit is tried', async () => assert.ok(tried));
    assert.ok((await offset())?.lease_token, 'the copy is not given up yet');
    release();
    await finished(copy);
    assert.equal(await offset(), { bytes_done: SIZE, lease_token: null });
  } finally {
    release();
    eu.commit = commit;
  }
});

for (const [when, bytes] of [
  ['before the target takes a byte', 0],
  ['later', 3 * 1024 * 1024],
] as const) {
  test(`of a copy that breaks off ${when}, the target keeps no more than somebody can go on with`, async () => {
    await m.db.query('delete from replication');
    await putBlob(m, locations, 'usstorage', randomBytes(SIZE));
    const { copies, jobs } = await claimCopies(m, locations, 'eustorage');
    const [job] = jobs;
    assert.ok(job);
    const content = () => contentOf(stack.storagePath('eustorage'));
    const before = await content();
    const eu = storeOf(locations, 'eustorage');
    const append = eu.append.bind(eu);
    eu.append = async (session, source, ...rest) => {
      if (bytes === 0) throw fail.diskFull();
      return append(session, upTo(bytes, source), ...rest);
    };
    try {
      await finished(copies.one(job));
    } finally {
      eu.append = append;
    }
    const [row] = await m.db.query('select bytes_done::int as done from replication');
    assert.is(row?.done, bytes);
    const left = (await content()).filter(each => !before.includes(each));
    assert.is(left.length > 0, bytes > 0, `left: ${left}`);
  });
}

test.run();
