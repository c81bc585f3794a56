/**
 * Whether a recorded history of a register is linearizable: whether each operation can have happened at one instant
 * between its call and its answer, so that every read saw the write before it.
 *
 * The search is Wing's and Gong's, with Lowe's memory: an operation is tried as the next one if it was called before any
 * other that is still left was answered; a state that was reached before (the same operations done, the same value) is
 * not tried again. The question is hard in general. It is quick here, where few operations overlap and values differ, with
 * two shortcuts: a read that fits where it is tried needs no other place, since it changes nothing; and a write of which
 * nobody knows what became, and whose value nobody read or cleared, need not have happened.
 */

/** The value that a register has; undefined: none. */
export type Value = string | undefined;

export interface Operation {
  /** `clear` takes the value away if it is this one, and leaves any other. */
  readonly kind: 'read' | 'write' | 'clear';
  /** What was read, written, or cleared. */
  readonly value: Value;
  /** When it was called and when it was answered, by one clock; two of these are never the same instant. */
  readonly called: number;
  /** Infinity for a change of which nobody knows what became: it may happen at any time after its call, or never. */
  readonly answered: number;
}

const UNKNOWN = Number.POSITIVE_INFINITY;

/** An operation in the search: its two ends stand in one list, by their time. */
interface Entry {
  readonly operation: Operation;
  readonly number: number;
  /** Absent for the answer itself. */
  readonly answer: Entry | undefined;
  before: Entry | undefined;
  after: Entry | undefined;
}

/**
 * Undefined if the history is linearizable, from `initial` on. Otherwise the operations up to the answer that the search
 * never came past: what is wrong is among the last of them.
 */
export function violation(history: readonly Operation[], initial: Value = undefined): readonly Operation[] | undefined {
  // A value that somebody clears counts, too: it may have taken the place of another, and then have gone.
  const named = new Set(history.flatMap(({ kind, value }) => (kind === 'write' ? [] : [value])));
  const matters = (each: Operation) => each.kind !== 'write' || each.answered !== UNKNOWN || named.has(each.value);
  const head = entriesOf(history.filter(matters));
  const reached = new Set<string>();
  const done: { readonly call: Entry; readonly value: Value }[] = [];
  let bits = 0n;
  let value = initial;
  let furthest = Number.NEGATIVE_INFINITY;
  let entry = head.after;
  while (entry) {
    const { operation, number, answer } = entry;
    if (answer) {
      const next = valueAfter(operation, value);
      const state = `${(bits | (1n << BigInt(number))).toString(16)} ${next}`;
      if ((operation.kind !== 'read' || operation.value === value) && !reached.has(state)) {
        reached.add(state);
        done.push({ call: entry, value });
        bits |= 1n << BigInt(number);
        value = next;
        takeOut(entry);
        entry = head.after;
      } else {
        entry = entry.after;
      }
    } else if (operation.answered === UNKNOWN) {
      // All that were answered have their place. What is left may not have happened.
      return undefined;
    } else {
      furthest = Math.max(furthest, operation.answered);
      let last = done.pop();
      for (; last; last = done.pop()) {
        putBack(last.call);
        bits &= ~(1n << BigInt(last.call.number));
        value = last.value;
        if (last.call.operation.kind !== 'read') break;
      }
      if (!last) return upTo(history, furthest);
      entry = last.call.after;
    }
  }
  return undefined;
}

function valueAfter({ kind, value: own }: Operation, before: Value): Value {
  if (kind === 'write') return own;
  return kind === 'clear' && before === own ? undefined : before;
}

/** The head of the list of both ends of all operations, by their time. */
function entriesOf(history: readonly Operation[]): Pick<Entry, 'after'> {
  const calls = history.map((operation, number) => {
    const answer: Entry = { operation, number, answer: undefined, before: undefined, after: undefined };
    return { operation, number, answer, before: undefined, after: undefined };
  });
  const ends = calls.flatMap(call => [
    { at: call.operation.called, entry: call as Entry },
    { at: call.operation.answered, entry: call.answer },
  ]);
  ends.sort((a, b) => a.at - b.at || 0);
  const head: Entry = {
    operation: { kind: 'read', value: undefined, called: 0, answered: 0 },
    ...{ number: -1, answer: undefined, before: undefined, after: undefined },
  };
  let last = head;
  for (const { entry } of ends) {
    last.after = entry;
    entry.before = last;
    last = entry;
  }
  return head;
}

/** Takes a call and its answer out of the list. They keep their neighbours, so that they can be put back. */
function takeOut(call: Entry): void {
  for (const each of [call, call.answer]) {
    if (each?.before) each.before.after = each.after;
    if (each?.after) each.after.before = each.before;
  }
}

function putBack(call: Entry): void {
  for (const each of [call.answer, call]) {
    if (each?.before) each.before.after = each;
    if (each?.after) each.after.before = each;
  }
}

function upTo(history: readonly Operation[], answered: number): Operation[] {
  return history.filter(({ called }) => called <= answered).sort((a, b) => a.called - b.called);
}
