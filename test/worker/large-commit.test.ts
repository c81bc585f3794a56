/** The end of a large copy: it does not wait for the database, and if it fails, what it had is on record. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { Locations } from '../../lib/locations/locations.js';
import { fail } from '../../lib/rpc/errors.js';
import type { Metadata } from '../support/clients.js';
import { suite } from '../support/suite.js';
import { finished, soon } from '../support/wait.js';
import { claimCopies, putBlob, startTwoLocations, storeOf } from './copying.js';

const test = suite('worker: the end of a large copy');
const SIZE = 20 * 1024 * 1024;
let m: Metadata;
let locations: Locations;

test.before(async () => {
  ({ m, locations } = await startTwoLocations());
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

test.run();
