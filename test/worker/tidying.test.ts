/** What a worker does every so often. */
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { Tidying } from '../../worker/tidying.js';
import { quiet } from '../support/clients.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('worker: tidying');

test('at once, then every so often, one at a time, and not after the end, which it is waited for', async () => {
  let [running, most, done] = [0, 0, 0];
  let ending = false;
  const tidying = new Tidying({
    everyMs: 10,
    work: async signal => {
      most = Math.max(most, ++running);
      await sleep(30);
      ending ||= signal.aborted;
      running--;
      done++;
    },
    failure: 'cannot tidy',
    log: quiet,
  });
  assert.is(running, 1, 'at once');
  assert.ok(await until(() => done >= 3, 10_000));
  assert.ok(await until(() => running === 1, 10_000));
  await tidying.close();
  const at = done;
  assert.equal([running, most, ending], [0, 1, true]);
  await sleep(50);
  assert.is(done, at);
});

test('a failure is told once, until it has gone well again', async () => {
  const said: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(JSON.parse(line).msg) });
  let turn = 0;
  const tidying = new Tidying({
    everyMs: 5,
    work: async () => {
      turn++;
      if (turn !== 3) throw new Error('away');
    },
    failure: 'cannot tidy',
    log,
  });
  try {
    assert.ok(await until(() => turn >= 6, 10_000));
  } finally {
    await tidying.close();
  }
  assert.equal(said, ['cannot tidy, and tries again', 'cannot tidy, and tries again']);
});

test.run();
