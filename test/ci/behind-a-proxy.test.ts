/** Gateways behind a proxy that ends TLS, and beside it: clients find the next request of a push in every case. */
import * as assert from 'uvu/assert';
import { HAPROXY_NEEDS, startHaproxy } from '../support/haproxy.js';
import { writeIndexLayout } from '../support/images.js';
import { skopeoPull, skopeoPush } from '../support/skopeo.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('behind a proxy and beside it', { needs: [...HAPROXY_NEEDS, 'skopeo'], timeoutMs: 60_000 });
let stack: Stack;
let proxy: string;

test.before(async () => {
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'],
    // Nobody can find this name here: who is sent to it does not come back.
    config: { SERVER_HOSTNAME: 'registry.invalid' },
  });
  proxy = (await startHaproxy([stack.us, stack.eu].map(url => new URL(url).host))).host;
});

// They have no client left: without this each would drain for some seconds.
test.after(() => Promise.all([stack.kill('gateway-us'), stack.kill('gateway-eu')]));

/** How many writing requests a gateway has logged, by method. */
function pushesSeen(name: PartName): Record<string, number> {
  const seen: Record<string, number> = { POST: 0, PATCH: 0, PUT: 0 };
  for (const [, method = ''] of stack
    .part(name)
    .log()
    .matchAll(/"method":"(POST|PATCH|PUT)"/g)) {
    seen[method] = (seen[method] ?? 0) + 1;
  }
  return seen;
}

async function pushAndPull(name: string): Promise<void> {
  const layout = await temporaryFolder('layout');
  const { digest, images } = await writeIndexLayout(layout, { layers: [1_000_000, 100_000, 10], seed: name });
  await skopeoPush(layout, name);
  for (const image of images) {
    const pulled = await skopeoPull(`${name.replace(/:[^:]*$/, '')}@${image.digest}`);
    assert.is(pulled.digest, image.digest);
    assert.equal(pulled.blobs, [image.config, ...image.layers].map(each => each.digest).sort());
  }
  assert.is((await skopeoPull(`${name.replace(/:[^:]*$/, '')}@${digest}`)).digest, images[0]?.digest);
}

test('beside the proxy: who comes to a region by its own address stays there', async () => {
  await pushAndPull(`${new URL(stack.us).host}/proxied/own:1`);
  assert.ok(Object.values(pushesSeen('gateway-us')).every(count => count > 0));
  assert.equal(pushesSeen('gateway-eu'), { POST: 0, PATCH: 0, PUT: 0 });
});

test('behind a proxy that ends TLS: each request of a push comes by it again, and goes to the next region', async () => {
  const before = pushesSeen('gateway-us');
  await pushAndPull(`${proxy}/proxied/tls:1`);
  for (const [method, count] of Object.entries(pushesSeen('gateway-us'))) {
    assert.ok(count > (before[method] ?? 0), `${method} at us`);
  }
  for (const [method, count] of Object.entries(pushesSeen('gateway-eu'))) assert.ok(count > 0, `${method} at eu`);
});

test.run();
