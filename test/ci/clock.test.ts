/** A worker whose clock is far off does what every other worker does: the clocks that matter are the database's. */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { run } from '../support/command.js';
import { ociClient } from '../support/oci-client.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('clocks', { needs: ['faketime'], timeoutMs: 90_000 });

let stack: Stack;
/** Where Debian's faketime keeps its library: it says so itself. */
let library: string;

test.before(async () => {
  library = (await run('faketime', ['now', 'printenv', 'LD_PRELOAD'])).trim();
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu', 'worker-us'],
  });
});

for (const off of ['+40d', '-40d']) {
  test(`a worker with its clock ${off} off copies at once, ends nobody's upload, and loses no claim`, async () => {
    const client = ociClient(stack.us);
    atEnd(() => client.close());
    const begun = await client.request('POST', '/v2/clocks/app/blobs/uploads/');
    assert.is(begun.status, 202);
    const upload = String(begun.headers.location);

    // Events are kept for 30 days: none is told or forgotten by that clock.
    const before = await client.pushImage('clocks/app', off.startsWith('+') ? 'before' : 'before-too', [
      randomBytes(1_000),
    ]);
    const eventsOf = (digest: string) =>
      stack.sql('select location from replicationevent where digest = $1 order by 1', [digest]);
    assert.ok((await eventsOf(before.digest)).length > 0);

    const worker = await stack.start('worker-eu', {
      LD_PRELOAD: library,
      FAKETIME: off,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    });
    const [line] = worker.log().split('\n');
    const days = (Date.parse(JSON.parse(line ?? '{}').time) - Date.now()) / 86_400_000;
    assert.ok(Math.abs(days) > 39, `its own clock is ${days} days off`);

    const image = await client.pushImage('clocks/app', 'v1', [randomBytes(2_000), randomBytes(3_000_000)]);
    await stack.replicated(20_000);
    const blobs = await stack.blobsOf('eustorage');
    for (const digest of [image.config, ...image.layers]) assert.ok(blobs.includes(digest));
    // A copy that is claimed stays claimed: nobody takes it for one whose claim ran out, and it is made once.
    const copied = worker
      .log()
      .split('\n')
      .filter(each => each.includes('"copied"'));
    assert.is(new Set(copied.map(each => JSON.parse(each).digest)).size, copied.length);
    assert.not.match(worker.log(), 'the claim on a copy was lost');

    assert.ok(await until(() => worker.log().includes('copying blobs to these locations'), 20_000));
    assert.is((await client.request('GET', upload)).status, 204, 'the upload is there still');
    const both = [{ location: 'eustorage' }, { location: 'usstorage' }];
    assert.equal(await eventsOf(before.digest), both);
    assert.equal(await eventsOf(image.digest), both);
    const lags = await stack.sql(
      `select 1 from replicationevent where completed_at - pushed_at not between interval '0' and interval '10 minutes'`,
    );
    assert.equal(lags, [], 'the time since the push is what it is');
    const living = async () => (await stack.sql('select 1 from living_worker')).length;
    // The one that was killed before is taken to live for 15 seconds more.
    assert.ok(await until(async () => (await living()) === 2, 30_000), 'each is taken to live');
    await stack.kill('worker-eu');
  });
}

test.run();
