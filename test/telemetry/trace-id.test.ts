import * as assert from 'uvu/assert';
import { newTraceId, traceIdFrom } from '../../lib/telemetry/trace-id.js';
import { suite } from '../support/suite.js';

const test = suite('telemetry: trace id');

const ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

test('a new id is 32 hexadecimal digits, and another each time', () => {
  assert.match(newTraceId(), /^[0-9a-f]{32}$/);
  assert.is.not(newTraceId(), newTraceId());
});

test('a valid traceparent hands its id on', () => {
  assert.is(traceIdFrom(`00-${ID}-${PARENT}-01`), ID);
  assert.is(traceIdFrom(` 00-${ID}-${PARENT}-00 `), ID);
  assert.is(traceIdFrom(`01-${ID}-${PARENT}-01-what-a-later-version-adds`), ID);
});

test('anything else gets a new id', () => {
  const invalid = [
    undefined,
    '',
    ID,
    `ff-${ID}-${PARENT}-01`,
    `00-${ID}-${PARENT}-01-more`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${ID}-${'0'.repeat(16)}-01`,
    `00-${ID.toUpperCase()}-${PARENT}-01`,
    `00-${ID}x-${PARENT}-01`,
    `00-${ID}-${PARENT}`,
    `x00-${ID}-${PARENT}-01`,
  ];
  for (const header of invalid) {
    const id = traceIdFrom(header);
    assert.match(id, /^[0-9a-f]{32}$/, header);
    assert.is.not(id, ID, header);
    assert.not.match(id, /^0+$/);
  }
});

test.run();
