/** The bytes between a client and the storage: given again from any checkpoint, bounded, never in another order. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { ReplayBudget, ReplaySource } from '../../lib/locations/replay.js';
import { suite } from '../support/suite.js';

const test = suite('locations: replay');

async function* inPieces(bytes: Buffer, sizes: readonly number[], error?: Error): AsyncGenerator<Buffer> {
  let at = 0;
  for (const size of sizes) {
    yield bytes.subarray(at, at + size);
    at += size;
  }
  if (at < bytes.length) yield bytes.subarray(at);
  if (error) throw error;
}

test('whatever is read, lost and released, each attempt gets exactly the bytes from its checkpoint on', async () => {
  const step = fc.record({
    read: fc.integer({ min: 0, max: 5 }),
    released: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 20 }),
      fc.integer({ min: 0, max: 1000 }),
      fc.array(step, { maxLength: 6 }),
      async (sizes, start, steps) => {
        const bytes = randomBytes(sizes.reduce((sum, size) => sum + size, 0) + 7);
        const source = new ReplaySource(inPieces(bytes, sizes), start, new ReplayBudget());
        let checkpoint = start;
        for (const { read, released } of steps) {
          const attempt = source.from(checkpoint);
          let got = checkpoint;
          for (let count = 0; count < read; count++) {
            const next = await attempt.next();
            if (next.done) break;
            assert.equal(next.value, bytes.subarray(got - start, got - start + next.value.length));
            got += next.value.length;
          }
          checkpoint += Math.floor((got - checkpoint) * released);
          source.release(checkpoint);
          assert.ok(source.has(checkpoint));
        }
        const rest: Buffer[] = [];
        for await (const piece of source.from(checkpoint)) rest.push(piece);
        assert.equal(Buffer.concat(rest), bytes.subarray(checkpoint - start));
        await source.close();
      },
    ),
    { numRuns: 200 },
  );
});

test('a reader that was left waiting does not swallow the next bytes', async () => {
  let give: (bytes: Buffer) => void = () => {};
  async function* slow(): AsyncGenerator<Buffer> {
    yield Buffer.from('a');
    yield await new Promise<Buffer>(resolve => {
      give = resolve;
    });
  }
  const source = new ReplaySource(slow(), 0, new ReplayBudget());
  const dead = source.from(0);
  await dead.next();
  const stuck = dead.next();
  const alive = source.from(0);
  assert.is((await alive.next()).value?.toString(), 'a');
  const next = alive.next();
  await new Promise(resolve => setImmediate(resolve));
  give(Buffer.from('b'));
  assert.is((await next).value?.toString(), 'b');
  await stuck;
  await source.close();
});

test("the source's own error is told from others, and comes after its bytes", async () => {
  const error = new Error('the client went away');
  const source = new ReplaySource(inPieces(Buffer.from('abc'), [1], error), 0, new ReplayBudget());
  const got: string[] = [];
  const caught = await (async () => {
    for await (const piece of source.from(0)) got.push(piece.toString());
  })().catch(failure => failure);
  assert.is(caught, error);
  assert.ok(source.failedWith(caught));
  assert.not(source.failedWith(new Error('another')));
  assert.is(got.join(''), 'abc');
});

test('without memory left, bytes pass all the same, and only then cannot be had again', async () => {
  const budget = new ReplayBudget();
  let taken = 0;
  while (budget.take(1024 * 1024)) taken++;
  const bytes = randomBytes(3_000_000);
  const source = new ReplaySource(inPieces(bytes, [1_000_000, 1_000_000]), 0, budget);
  const got: Buffer[] = [];
  for await (const piece of source.from(0)) got.push(piece);
  assert.equal(Buffer.concat(got), bytes);
  assert.not(source.has(0));
  assert.ok(source.has(3_000_000));
  await source.close();
  assert.not(budget.take(1024 * 1024), 'nothing was given back that was not taken');
  budget.give(taken * 1024 * 1024);
});

test.run();
