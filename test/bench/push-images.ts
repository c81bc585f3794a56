/**
 * Pushes many small images to a gateway, from a region of the emulated wire. Arguments: the gateway's base URL, how many
 * images, and how many at a time. Writes how long it took.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { ociClient } from '../support/oci-client.js';

const [base = '', count = '0', atATime = '1'] = process.argv.slice(2);
/** One image in so many has a layer that is copied alone. */
const LARGE_EVERY = 50;

const client = ociClient(base);
const began = performance.now();
let next = 0;

async function pushSome(): Promise<void> {
  for (let number = next++; number < Number(count); number = next++) {
    const size = number % LARGE_EVERY === 0 ? randomInt(2_000_000, 6_000_000) : randomInt(4_000, 64_000);
    await client.pushImage(`lag/app-${number % 10}`, `v${number}`, [randomBytes(size)]);
  }
}

await Promise.all(Array.from({ length: Number(atATime) }, pushSome));
client.close();
console.log(`${count} images in ${((performance.now() - began) / 1000).toFixed(0)} s`);
