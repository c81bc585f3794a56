import * as assert from 'uvu/assert';
import { MEANINGFUL_KEYS } from '../../lib/config/keys.js';
import { entrepot } from '../support/entrepot.js';
import { suite } from '../support/suite.js';

const test = suite('cli: config keys');

const keysOf = (text: string) => [...text.matchAll(/^ {2}([A-Z_]+)$/gm)].map(match => match[1]);

test('shows each key once, in plain words', () => {
  const { status, stdout } = entrepot(['config', 'keys']);
  assert.is(status, 0);
  assert.equal(keysOf(stdout).toSorted(), [...MEANINGFUL_KEYS].toSorted());
  assert.match(
    stdout,
    /copies at a time from one location to another\n +takes a whole number, 1 to 1000; default: 8; read by worker\n/,
  );
  assert.match(stdout, 'where /metrics is served');
  assert.not.match(stdout, '`');
});

test('of one role: what it reads, and nothing of the others', () => {
  const keys = keysOf(entrepot(['config', 'keys', '--role', 'storage-proxy']).stdout);
  assert.ok(keys.includes('ENTREPOT_STORAGE_PROXY_LISTEN'));
  assert.not(keys.includes('DB_URI'));
  const { status, stderr } = entrepot(['config', 'keys', '--role', 'clerk']);
  assert.is(status, 2);
  assert.match(stderr, 'there is no role clerk');
});

test.run();
