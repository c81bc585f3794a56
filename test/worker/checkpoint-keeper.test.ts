/** Keeping checkpoints: three on their way at a time, the newest wins, and what is said to be kept is. */
import { setImmediate } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { CheckpointKeeper } from '../../worker/replicate/checkpoint-keeper.js';
import { suite } from '../support/suite.js';
import { finished } from '../support/wait.js';

const test = suite('worker: keeping checkpoints');

/** A save that is under way. Whoever has its outcome says so. */
interface Save {
  readonly offset: number;
  readonly first: boolean;
  /** It is saved; with `false`, the claim is lost. */
  done(held?: boolean): Promise<void>;
  fail(): Promise<void>;
}

/** A stand-in for the database, whose answers come when, and in the order in which, the test says so. */
class Saves {
  /** Those without an answer, in the order in which they began. */
  readonly pending: Save[] = [];
  /** What the keeper said to be kept. */
  readonly kept: number[] = [];
  readonly keeper = new CheckpointKeeper(
    ({ offset }, first) =>
      new Promise((resolve, reject) => {
        const over = async (answer: () => void) => {
          this.pending.splice(this.pending.indexOf(save), 1);
          answer();
          await setImmediate();
        };
        const save: Save = {
          ...{ offset, first },
          done: (held = true) => over(() => resolve(held)),
          fail: () => over(() => reject(new Error('the database is away'))),
        };
        this.pending.push(save);
      }),
    offset => this.kept.push(offset),
  );

  note(...offsets: number[]): void {
    for (const offset of offsets) this.keeper.note({ offset, session: Buffer.from(String(offset)) });
  }

  get offsets(): number[] {
    return this.pending.map(({ offset }) => offset);
  }

  at(offset: number): Save {
    const save = this.pending.find(each => each.offset === offset);
    if (!save) throw new Error(`${offset} is not being saved, but ${this.offsets}`);
    return save;
  }
}

test('the first goes alone, and counts in any case; then three are on their way at a time', async () => {
  const saves = new Saves();
  saves.note(1, 2, 3, 4);
  assert.equal(saves.offsets, [1]);
  assert.ok(saves.at(1).first);
  await saves.at(1).done();
  assert.equal(saves.offsets, [4], 'of those that waited the newest');
  saves.note(5, 6, 7, 8);
  assert.equal(saves.offsets, [4, 5, 6]);
  assert.ok(saves.pending.every(({ first }) => !first));
  await saves.at(5).done();
  assert.equal(saves.offsets, [4, 6, 8]);
  assert.equal(saves.kept, [1, 5]);
  const closed = saves.keeper.close();
  for (const offset of [8, 4, 6]) await saves.at(offset).done();
  await finished(closed);
  assert.equal(saves.kept, [1, 5, 8, 4, 6]);
});

test('while the first fails, the next is the first, and goes alone', async () => {
  const saves = new Saves();
  saves.note(1, 2);
  await saves.at(1).fail();
  assert.equal(saves.offsets, [], 'it waits for the next checkpoint');
  saves.note(3);
  assert.equal(saves.offsets, [3]);
  assert.ok(saves.at(3).first);
  saves.note(4, 5);
  assert.equal(saves.offsets, [3]);
  await saves.at(3).done();
  assert.equal(saves.offsets, [5]);
  assert.not(saves.at(5).first);
  await saves.at(5).done();
  assert.equal(saves.kept, [3, 5]);
});

test('one that failed is tried again when it is closed, or when a place is free', async () => {
  const saves = new Saves();
  saves.note(1);
  await saves.at(1).done();
  saves.note(2);
  await saves.at(2).fail();
  assert.equal(saves.offsets, []);
  const closed = saves.keeper.close();
  assert.equal(saves.kept, [1]);
  await setImmediate();
  await saves.at(2).done();
  await finished(closed);
  assert.equal(saves.kept, [1, 2]);

  saves.note(3, 4);
  await saves.at(3).fail();
  await saves.at(4).done();
  await saves.at(3).done();
  assert.equal(saves.kept, [1, 2, 4, 3]);
});

test('of several that failed the newest is tried again, in whatever order they did', async () => {
  for (const order of [
    [2, 3, 4],
    [4, 3, 2],
    [3, 4, 2],
  ]) {
    const saves = new Saves();
    saves.note(1);
    await saves.at(1).done();
    saves.note(2, 3, 4);
    for (const offset of order) await saves.at(offset).fail();
    const closed = saves.keeper.close();
    await setImmediate();
    assert.equal(saves.offsets, [4], `${order}`);
    await saves.at(4).done();
    await finished(closed);
    assert.equal(saves.kept, [1, 4]);
  }
});

test('what was not saved, since the claim is lost, is not said to be kept', async () => {
  const saves = new Saves();
  saves.note(1);
  await saves.at(1).done(false);
  saves.note(2);
  await saves.at(2).done(false);
  assert.equal(saves.kept, []);
  await finished(saves.keeper.close());
});

test('closing waits for all that are on their way, and for a last try; it never throws', async () => {
  const saves = new Saves();
  saves.note(1);
  await saves.at(1).done();
  saves.note(2, 3, 4, 5);
  let isClosed = false;
  const closed = saves.keeper.close().then(() => {
    isClosed = true;
  });
  await saves.at(3).done();
  assert.equal(saves.offsets, [2, 4, 5], 'what waited is on its way now');
  await saves.at(4).fail();
  await saves.at(5).fail();
  assert.not(isClosed);
  await saves.at(2).done();
  assert.equal(saves.offsets, [5], 'another try');
  assert.not(isClosed);
  await saves.at(5).fail();
  await setImmediate();
  // One at the least; that it ends matters more than how many there are.
  while (saves.pending[0]) await saves.pending[0].fail();
  await finished(closed);
  assert.equal(saves.kept, [1, 3, 2]);
  await finished(new Saves().keeper.close());
});

test.run();
