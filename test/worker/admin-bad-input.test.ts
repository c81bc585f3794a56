/** What no call of the Admin service takes: each says which field is wrong, and none of it is an internal error. */
import * as assert from 'uvu/assert';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { call, failure, read, startAdmin } from '../support/admin.js';
import { freshMetadata } from '../support/clients.js';
import { suite } from '../support/suite.js';

const test = suite('worker: bad input of the Admin service');
let admin: AdminClient;

test.before(async () => {
  admin = await startAdmin(await freshMetadata());
});

test('names that cannot be one', async () => {
  for (const location of ['a\0b', 'a\nb', 'x'.repeat(10_000)]) {
    const failures = await Promise.all(
      [
        read(admin.BackfillReplication({ location })),
        read(admin.WatchReplication({ location })),
        read(admin.WatchEvents({ location })),
        call(admin.RetryReplication.bind(admin), { location }),
        call(admin.PauseLocation.bind(admin), { location }),
        call(admin.ResumeLocation.bind(admin), { location }),
        call(admin.SetLimits.bind(admin), { location, limits: {} }),
        call(admin.SetNamespaceLocations.bind(admin), { namespace: 'team', locations: ['usstorage', location] }),
        read(admin.VerifyLocation({ location })),
        read(admin.AdoptLocation({ location })),
        call(admin.ReleaseAdopted.bind(admin), { location }),
        read(admin.RemoveLocation({ location, confirm: location })),
        read(admin.RemoveLocation({ location, giveUp: true })),
      ].map(failure),
    );
    for (const text of failures)
      assert.match(text, /^INVALID_ARGUMENT MALFORMED: locations? is not a location's name: "/);
    assert.ok(failures.every(text => text.length < 500));
  }
  for (const namespace of ['a\0b', 'Team', 'a/b']) {
    const backfill = read(admin.BackfillReplication({ namespace }));
    assert.match(await failure(backfill), /^INVALID_ARGUMENT MALFORMED: namespace is not a namespace/);
  }
});

/** What a newer client sends: a number that this release has no name for. */
const newer = 9 as unknown as undefined;

test('choices that there are not: a newer client is told, and does not get something else', async () => {
  const depth = read(admin.VerifyLocation({ location: 'usstorage', depth: newer }));
  assert.match(
    await failure(depth),
    /^INVALID_ARGUMENT MALFORMED: depth must be one of VERIFY_DEPTH_SIZE, VERIFY_DEPTH_DIGEST/,
  );
  const goal = read(admin.WatchReplication({ goal: newer }));
  assert.match(
    await failure(goal),
    /^INVALID_ARGUMENT MALFORMED: goal must be one of WATCH_GOAL_SNAPSHOT, WATCH_GOAL_EMPTY/,
  );
});

test.run();
