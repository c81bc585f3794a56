/**
 * Pushes go on while processes are killed at random; afterwards everything converges, and nothing that was acknowledged
 * is missing anywhere.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type OciClient, ociClient, type PushedImage } from '../support/oci-client.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('two regions: kills', { timeoutMs: 200_000, fileTimeoutMs: 240_000 });
const VICTIMS: PartName[] = [
  'gateway-us',
  'gateway-eu',
  'storage-proxy-us',
  'storage-proxy-eu',
  'worker-us',
  'worker-eu',
];
const KILLS = Number(process.env.ENTREPOT_TEST_KILLS ?? 6);
let stack: Stack;

test.before(async () => {
  stack = await startStack();
});

interface Acknowledged extends PushedImage {
  readonly repository: string;
  readonly tag: string;
}

/** Pushes images to one gateway until told to stop, each again and again until it is acknowledged. */
async function pushMany(client: OciClient, who: string, stop: AbortSignal): Promise<Acknowledged[]> {
  const acknowledged: Acknowledged[] = [];
  for (let number = 0; !stop.aborted; number++) {
    const [repository, tag] = [`kills/${who}`, `v${number}`];
    const layers = [randomBytes(randomInt(1, 20_000)), randomBytes(randomInt(1_000_000, 6_000_000))];
    while (!stop.aborted) {
      try {
        acknowledged.push({ ...(await client.pushImage(repository, tag, layers)), repository, tag });
        break;
      } catch {
        await sleep(100);
      }
    }
  }
  return acknowledged;
}

function client(url: string): OciClient {
  const made = ociClient(url);
  atEnd(() => made.close());
  return made;
}

test('kill -9 of every process in turn, in the middle of pushes and copies', async () => {
  const stop = new AbortController();
  const pushing = [
    pushMany(client(stack.us), 'us1', stop.signal),
    pushMany(client(stack.us), 'us2', stop.signal),
    pushMany(client(stack.eu), 'eu1', stop.signal),
  ];
  for (let kill = 0; kill < KILLS; kill++) {
    const victim = VICTIMS[kill % VICTIMS.length] as PartName;
    await sleep(randomInt(200, 900));
    await stack.kill(victim);
    await sleep(randomInt(0, 300));
    await stack.start(victim);
  }
  stop.abort();
  const acknowledged = (await Promise.all(pushing)).flat();
  assert.ok(acknowledged.length >= KILLS, `only ${acknowledged.length} pushes were acknowledged`);

  await stack.replicated(60_000);
  for (const base of [stack.us, stack.eu]) {
    const reader = client(base);
    for (const image of acknowledged) {
      assert.is((await reader.pullManifest(image.repository, image.tag)).digest, image.digest);
    }
  }
  const [us, eu] = [new Set(await stack.blobsOf('usstorage')), new Set(await stack.blobsOf('eustorage'))];
  for (const image of acknowledged) {
    for (const digest of [...image.layers, image.config]) {
      assert.ok(us.has(digest), `${digest} is missing in us`);
      assert.ok(eu.has(digest), `${digest} is missing in eu`);
    }
  }
  // Each region alone has every byte, and every byte is right.
  for (const [dead, base] of [
    ['storage-proxy-us', stack.eu],
    ['storage-proxy-eu', stack.us],
  ] as const) {
    await stack.kill(dead);
    const reader = client(base);
    for (const image of acknowledged.slice(0, 20)) {
      for (const digest of image.layers) {
        const bytes = await reader.pullBlob(image.repository, digest);
        assert.is(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest);
      }
    }
    await stack.start(dead);
  }
});

test.run();
