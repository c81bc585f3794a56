/** How many stripes are on their way: narrow unless packets get lost, and from time to time it is looked at anew. */
import * as assert from 'uvu/assert';
import { Width } from '../../lib/locations/width.js';
import { suite } from '../support/suite.js';

const test = suite('locations: width');
const [NARROW, WIDE] = [16, 36];

/** What is passed over after each pause, and after a wide time. */
const PASSED_OVER = 48;

/** A width with a clock of its own, and a link with this round trip. */
function start(roundTripMs: number) {
  let now = 1_000;
  const width = new Width(() => now);
  return {
    width,
    pass: (ms: number) => {
      now += ms;
    },
    /** So many stripes come: of every `every` one with a gap. */
    come(stripes: number, { gapMs = 0, every = 1, waitMs = 0 }): void {
      for (let i = 0; i < stripes; i++) width.came(roundTripMs + (i === 0 ? 0 : waitMs), i % every === 0 ? gapMs : 1);
    },
  };
}

test('it is narrow, and stays so without gaps', () => {
  const { width, come } = start(80);
  assert.is(width.stripes, NARROW);
  come(480, { gapMs: 50 });
  assert.is(width.stripes, NARROW, 'shorter than most of a round trip is none');
});

test('it is wide once more than a fifth of 48 stripes had a gap', () => {
  for (const { every, stripes } of [
    { every: 1, stripes: WIDE },
    { every: 4, stripes: WIDE },
    { every: 5, stripes: WIDE },
    { every: 6, stripes: NARROW },
  ]) {
    const { width, come } = start(80);
    come(47, { gapMs: 80, every });
    assert.is(width.stripes, NARROW);
    width.came(80, 0);
    assert.is(width.stripes, stripes, `every ${every}th`);
  }
});

test('over a short way a gap is no less than 40 ms', () => {
  const { width, come } = start(1);
  come(48, { gapMs: 39 });
  assert.is(width.stripes, NARROW);
  come(48, { gapMs: 41 });
  assert.is(width.stripes, WIDE);
});

test('gaps while first bytes wait long come from a queue', () => {
  const { width, come } = start(80);
  come(48, { gapMs: 200, waitMs: 110 });
  assert.is(width.stripes, NARROW);
  come(48, { gapMs: 200, waitMs: 90 });
  assert.is(width.stripes, WIDE);
});

test('after thirty seconds it is narrow again, and decided anew', () => {
  const { width, come, pass } = start(80);
  come(48, { gapMs: 80 });
  pass(29_999);
  // Seen from the wide side they count for nothing.
  come(40, { gapMs: 80 });
  assert.is(width.stripes, WIDE);
  pass(1);
  assert.is(width.stripes, NARROW);
  // What was asked for while it was wide overflows a buffer by itself.
  come(PASSED_OVER + 47, { gapMs: 80 });
  assert.is(width.stripes, NARROW);
  come(1, { gapMs: 80 });
  assert.is(width.stripes, WIDE);
});

test('each time that gaps are found again, it is wide for twice as long, and no longer than 240 seconds', () => {
  const { width, come, pass } = start(80);
  for (const seconds of [30, 60, 120, 240, 240]) {
    come(PASSED_OVER + 48, { gapMs: 80 });
    pass(1_000 * seconds - 1);
    assert.is(width.stripes, WIDE, `for ${seconds} s`);
    pass(1);
    assert.is(width.stripes, NARROW, `for ${seconds} s`);
  }
  come(PASSED_OVER + 48, {});
  come(48, { gapMs: 80 });
  pass(30_000);
  assert.is(width.stripes, NARROW, 'once there were none, it begins anew');
});

test('what comes first, and after a pause, does not count: connections send all they may at once', () => {
  const { width, come, pass } = start(80);
  width.asked();
  come(PASSED_OVER + 47, { gapMs: 80 });
  assert.is(width.stripes, NARROW);
  width.over();
  pass(501);
  width.asked();
  come(PASSED_OVER + 47, { gapMs: 80 });
  assert.is(width.stripes, NARROW);
  width.over();
  pass(500);
  width.asked();
  come(1, { gapMs: 80 });
  assert.is(width.stripes, WIDE, 'a pause of 500 ms is none');
});

test('a pause of less than four minutes takes nothing from the time for which it is wide', () => {
  for (const { pauseMs, after } of [
    { pauseMs: 239_999, after: WIDE },
    { pauseMs: 240_000, after: NARROW },
  ]) {
    const { width, come, pass } = start(80);
    width.asked();
    come(PASSED_OVER + 48, { gapMs: 80 });
    pass(10_000);
    width.over();
    pass(pauseMs);
    width.asked();
    assert.is(width.stripes, after, `${pauseMs} ms`);
    pass(19_999);
    assert.is(width.stripes, after, `${pauseMs} ms`);
    pass(1);
    assert.is(width.stripes, NARROW, `${pauseMs} ms`);
  }
});

test('a way that has become longer is not taken for a queue for ever', () => {
  const { width, come } = start(1);
  const longer = { gapMs: 200, waitMs: 300 };
  come(48, longer);
  assert.is(width.stripes, NARROW);
  let decisions = 0;
  for (; decisions < 2_000 && width.stripes === NARROW; decisions++) for (let i = 0; i < 48; i++) width.came(301, 200);
  assert.is(width.stripes, WIDE);
  assert.ok(decisions > 100, `after ${decisions} decisions`);
});

test('reads share the stripes, with two for each at the least; beyond that there is room while some are left', () => {
  const { width, come } = start(80);
  assert.equal(
    [1, 2, 3, 8, 9, 100].map(reads => width.share(reads)),
    [16, 8, 5, 2, 2, 2],
  );
  for (let i = 0; i < NARROW; i++) {
    assert.ok(width.hasRoom);
    width.asked();
  }
  assert.not(width.hasRoom);
  width.over();
  assert.ok(width.hasRoom);
  width.asked();
  come(PASSED_OVER + 48, { gapMs: 80 });
  assert.ok(width.hasRoom, 'it is wide');
  assert.is(width.share(8), 4);
});

test.run();
