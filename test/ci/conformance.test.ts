/**
 * The OCI conformance suite against two regions: as the specification is now (`stable`) and as it will be (`dev`), through
 * one region's gateway, and through a front that hands each request to the other region. `npm run conformance` runs
 * this file alone, and shows the figures.
 */
import * as assert from 'uvu/assert';
import { OCI_SUITE } from '../conformance/oci-suite.js';
import { type Front, startFront } from '../conformance/round-robin.js';
import { conforms } from '../conformance/verdict.js';
import { startRedis } from '../support/redis.js';
import { type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';

const test = suite('OCI conformance', {
  needs: [OCI_SUITE, 'redis-server'],
  timeoutMs: 90_000,
  fileTimeoutMs: 300_000,
});
let stack: Stack;
let front: Front;

test.before(async () => {
  const { host, port } = await startRedis();
  // The suite pushes images whose layers it keeps to itself, which a registry may refuse, and this one does by default.
  stack = await startStack({ config: { USER_EVENTS_REDIS: { host, port }, ENTREPOT_SPARSE_IMAGES: true } });
  front = await startFront([stack.us, stack.eu].map(url => new URL(url).host));
});

// They have no client left: without this each would drain for some seconds.
test.after(() => Promise.all([stack.kill('gateway-us'), stack.kill('gateway-eu')]));

for (const version of ['stable', 'dev'] as const) {
  for (const through of ['one gateway', 'both regions in turn'] as const) {
    test(`${version}, through ${through}`, async () => {
      const registry = through === 'one gateway' ? new URL(stack.us).host : front.host;
      const namespace = `conformance/${version}-${through.replaceAll(' ', '-')}`;
      await conforms(`${version}, through ${through}`, { registry, version, namespace });
    });
  }
}

test('the front has given the requests of each upload to both regions', () => {
  const [us = 0, eu = 0] = front.served;
  const uploads = [...front.uploads.values()];
  const split = uploads.filter(gateways => gateways.size === 2).length;
  console.log(`${us} and ${eu} requests to the two regions, ${split} of ${uploads.length} uploads to both`);
  assert.ok(us + eu > 1_000 && Math.abs(us - eu) <= 1);
  assert.ok(split > uploads.length / 2);
});

test.run();
