import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { withTables } from '../../docs/tables/configuration.js';
import { MEANINGFUL_KEYS } from '../../lib/config/keys.js';
import { loadConfig } from '../../lib/config/load.js';
import { suite } from '../support/suite.js';
import { withFile } from './fixture.js';

const test = suite('config: documentation');

const text = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');

test('its tables are those of the schema: otherwise run npm run docs', () => {
  assert.is(text, withTables(text));
});

test('every key that means something is in one of them', () => {
  for (const key of MEANINGFUL_KEYS) assert.match(text, `\n| \`${key}\` | `, key);
});

test('a section without a place in the page is missed', () => {
  assert.throws(() => withTables(text.replaceAll('keys: Worker', 'Worker')), /no table for: Worker$/);
});

test('the complete example loads for every process of both regions', () => {
  const example = /## A complete example.*?```yaml\n(.*?)```/s.exec(text)?.[1] ?? '';
  assert.match(example, 'usstorage');
  withFile(example, file => {
    for (const location of ['usstorage', 'eustorage']) {
      for (const role of ['gateway', 'storage-proxy', 'worker', 'cli'] as const) {
        const config = loadConfig({ role, file, env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: location } });
        assert.is(config.preference[0], location);
        assert.is(config.owned?.name, role === 'storage-proxy' ? location : undefined);
        assert.equal(config.notices, []);
      }
    }
  });
});

test.run();
