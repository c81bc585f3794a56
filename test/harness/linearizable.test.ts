/** The checker of histories finds what is wrong, and only that. */
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Operation, type Value, violation } from '../support/linearizable.js';
import { suite } from '../support/suite.js';

const test = suite('linearizability of a register');

/** Written as `[called, answered]`. */
const write = (value: Value, [called, answered]: [number, number]): Operation => ({
  ...{ kind: 'write', value, called, answered },
});
const read = (value: Value, [called, answered]: [number, number]): Operation => ({
  ...{ kind: 'read', value, called, answered },
});
const clear = (value: Value, [called, answered]: [number, number]): Operation => ({
  ...{ kind: 'clear', value, called, answered },
});
const UNKNOWN = Number.POSITIVE_INFINITY;

const good: Record<string, Operation[]> = {
  nothing: [],
  'what was there before': [read(undefined, [1, 2])],
  'one after the other': [write('a', [1, 2]), read('a', [3, 4]), write('b', [5, 6]), read('b', [7, 8])],
  'a read beside a write sees either': [
    ...[write('a', [1, 2]), write('b', [3, 10]), read('a', [4, 5]), read('b', [6, 7]), read('b', [11, 12])],
  ],
  'writes beside each other, in the order that the reads tell': [
    ...[write('a', [1, 10]), write('b', [2, 9]), write('c', [3, 8]), read('c', [11, 12])],
  ],
  'a deletion': [write('a', [1, 2]), write(undefined, [3, 4]), read(undefined, [5, 6])],
  'a clearing of the value, and of another one': [
    ...[write('a', [1, 2]), clear('b', [3, 4]), read('a', [5, 6]), clear('a', [7, 8]), read(undefined, [9, 10])],
  ],
  'an unknown write that happened late': [
    ...[write('a', [1, 2]), write('b', [3, UNKNOWN]), read('a', [4, 5]), read('b', [20, 21])],
  ],
  'an unknown write that never happened': [write('a', [1, 2]), write('b', [3, UNKNOWN]), read('a', [4, 5])],
};
for (const [what, history] of Object.entries(good)) {
  test(`good: ${what}`, () => assert.is(violation(history), undefined));
}

const bad: Record<string, Operation[]> = {
  'a read of what nobody wrote': [write('a', [1, 2]), read('b', [3, 4])],
  'a read of what is not written yet': [read('a', [1, 2]), write('a', [3, 4])],
  'a stale read': [write('a', [1, 2]), write('b', [3, 4]), read('a', [5, 6])],
  'back to the older value, while the write still runs': [
    ...[write('a', [1, 2]), write('b', [3, 20]), read('b', [4, 5]), read('a', [6, 7])],
  ],
  'two readers that see two writes in different orders': [
    ...[write('a', [1, 4]), write('b', [2, 3])],
    ...[read('a', [5, 6]), read('b', [7, 8]), read('a', [9, 10])],
  ],
  'a deleted value that is still read': [write('a', [1, 2]), write(undefined, [3, 4]), read('a', [5, 6])],
  'a cleared value that is still read': [write('a', [1, 2]), clear('a', [3, 4]), read('a', [5, 6])],
  'a value that was cleared with another': [write('a', [1, 2]), clear('b', [3, 4]), read(undefined, [5, 6])],
  'a write that was lost': [write('a', [1, 2]), read(undefined, [3, 4])],
  'an unknown write that happened and did not': [
    ...[write('a', [1, 2]), write('b', [3, UNKNOWN]), read('b', [4, 5]), read('a', [6, 7])],
  ],
};
for (const [what, history] of Object.entries(bad)) {
  test(`bad: ${what}`, () => assert.ok(violation(history)));
}

/** A history as a true register makes it: each operation has one instant, and an interval around it. */
const histories = fc
  .array(
    fc.record({
      kind: fc.constantFrom('read', 'read', 'write', 'clear'),
      early: fc.nat(6),
      late: fc.nat(6),
      unknown: fc.nat(15),
      of: fc.nat(3),
    }),
    { maxLength: 40 },
  )
  .map(steps => {
    let value: Value;
    return steps.map(({ kind, early, late, unknown, of }, number): Operation => {
      const own = kind === 'write' ? `v${number}` : kind === 'clear' ? `v${number - of}` : value;
      if (kind === 'write') value = own;
      else if (kind === 'clear' && value === own) value = undefined;
      const answered = kind !== 'read' && unknown === 0 ? UNKNOWN : number + late + 0.2 + number / 1e4;
      return { kind, value: own, called: number - early - number / 1e4, answered };
    });
  });

test('a write of unknown fate, and a clear of its value, explain that nothing is there', () => {
  const unknown = Number.POSITIVE_INFINITY;
  const history: Operation[] = [
    { kind: 'write', value: 'a', called: 0, answered: 1 },
    { kind: 'write', value: 'b', called: 2, answered: unknown },
    { kind: 'clear', value: 'b', called: 3, answered: unknown },
    { kind: 'read', value: undefined, called: 4, answered: 5 },
  ];
  assert.is(violation(history), undefined);
  assert.ok(violation(history.filter(({ kind }) => kind !== 'clear')));
});

test('every history of a true register is good', () => {
  fc.assert(fc.property(histories, history => violation(history) === undefined));
});

test('the same verdict as by trying every order', () => {
  const small = histories.map(history => history.slice(0, 7));
  const mixed = fc.tuple(small, fc.nat(6)).map(([history, by]) =>
    // Reads get the value of another operation: this makes some of the histories bad.
    history.map((each, i) => (each.kind === 'read' ? { ...each, value: history[(i + by) % 7]?.value } : each)),
  );
  let found = 0;
  fc.assert(
    fc.property(mixed, history => {
      const expected = anyOrder(history, undefined);
      if (!expected) found++;
      return (violation(history) === undefined) === expected;
    }),
    { numRuns: 1_000 },
  );
  assert.ok(found > 20, `${found} bad ones`);
});

/** By definition: whether some order of the operations explains them. */
function anyOrder(left: readonly Operation[], value: Value): boolean {
  if (left.every(each => each.answered === UNKNOWN)) return true;
  return left.some(next => {
    if (left.some(other => other.answered < next.called)) return false;
    if (next.kind === 'read' && next.value !== value) return false;
    return anyOrder(
      left.filter(each => each !== next),
      next.kind === 'write' ? next.value : next.kind === 'clear' && next.value === value ? undefined : value,
    );
  });
}

test.run();
