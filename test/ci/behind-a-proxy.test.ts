/**
 * Gateways behind each proxy that deploy/proxies has a sample for, and beside them: clients find the next request of a push
 * in every case. The gateways are of two regions, so each request of a push may come to the other region.
 */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { writeIndexLayout } from '../support/images.js';
import { freePorts } from '../support/ports.js';
import { type OwnCertificate, ownCertificate, PASSING_ON, PROXY_NEEDS, startProxy } from '../support/proxies.js';
import { skopeoPull, skopeoPush } from '../support/skopeo.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('behind a proxy and beside it', { needs: [...PROXY_NEEDS, 'skopeo'], timeoutMs: 60_000 });
let stack: Stack;
let own: OwnCertificate;
let http: [string, string];
let https: [string, string];

test.before(async () => {
  own = await ownCertificate();
  // Nobody can find this name here: who is sent to it does not come back.
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu'],
    config: { SERVER_HOSTNAME: 'registry.invalid', ENTREPOT_PROXY_PROTOCOL_FROM: [PASSING_ON] },
  });
  const folder = await temporaryFolder('conf');
  const file = join(folder, 'config.yaml');
  await writeFile(file, stringify(stack.config));
  await copyFile(own.cert, join(folder, 'ssl.cert'));
  await copyFile(own.key, join(folder, 'ssl.key'));
  https = (await freePorts(2)).map(port => `127.0.0.1:${port}`) as [string, string];
  for (const [index, name] of (['gateway-us', 'gateway-eu'] as const).entries())
    await stack.start(name, { ENTREPOT_CONFIG: file, ENTREPOT_GATEWAY_TLS_LISTEN: https[index] ?? '' });
  http = [new URL(stack.us).host, new URL(stack.eu).host];
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

for (const [sample, gateways] of [
  ['haproxy-http.cfg', () => http],
  ['nginx.conf', () => http],
  ['haproxy-tcp.cfg', () => https],
] as const) {
  test(`${sample}: each request of a push comes by it again, and goes to the next region`, async () => {
    const before = { us: pushesSeen('gateway-us'), eu: pushesSeen('gateway-eu') };
    const proxy = await startProxy(sample, gateways(), own);
    await pushAndPull(`${proxy.host}/proxied/${sample.replace('.', '-')}:1`);
    const after = { us: pushesSeen('gateway-us'), eu: pushesSeen('gateway-eu') };
    for (const region of ['us', 'eu'] as const) {
      for (const [method, count] of Object.entries(after[region]))
        assert.ok(count > (before[region][method] ?? 0), `${method} at ${region}`);
    }
  });
}

test.run();
