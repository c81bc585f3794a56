import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { withTables } from '../../docs/tables/configuration.js';
import { localArguments } from '../../lib/config/engines/local.js';
import { s3Drivers } from '../../lib/config/engines/s3.js';
import { MEANINGFUL_KEYS } from '../../lib/config/keys.js';
import { loadConfig } from '../../lib/config/load.js';
import { withFile } from '../support/config.js';
import { suite } from '../support/suite.js';

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

test('docs/engines.md has every argument of every driver, and no other', () => {
  const engines = readFileSync(new URL('../../../docs/engines.md', import.meta.url), 'utf8');
  const cells = [...engines.matchAll(/^\| (`[^|]*) \|/gm)].map(match => match[1] ?? '');
  // In the first table these are the drivers themselves.
  const named = cells.flatMap(cell => [...cell.matchAll(/`([a-z]\w+)`/g)].map(match => match[1]));
  const known = [localArguments, ...Object.values(s3Drivers)].flatMap(argumentsOf);
  assert.ok(known.length > 40);
  assert.equal([...new Set(named)].toSorted(), [...new Set(known)].toSorted());
});

/** The keys of a driver's form. */
function argumentsOf(form: z.ZodType): string[] {
  const given = form instanceof z.ZodPipe ? form.in : form;
  assert.instance(given, z.ZodObject);
  return given instanceof z.ZodObject ? Object.keys(given.shape) : [];
}

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
