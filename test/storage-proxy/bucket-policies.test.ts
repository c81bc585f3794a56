/** docs/bucket-policies.md is about the requests that the engine sends, each and no other. */
import { readdirSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';

const test = suite('storage-proxy: bucket policies');

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const ENGINE = 'storage-proxy/engines/s3';
const page = read('docs/bucket-policies.md');
const rows = [...page.matchAll(/^\| (`.*) \| .* \| (`s3:.*) \|$/gm)];
const words = (text: string | undefined) => [...(text ?? '').matchAll(/`([^`]+)`/g)].map(match => match[1] ?? '');

test('every request stands in the table, and nothing else does', () => {
  const sources = readdirSync(new URL(`../../../${ENGINE}`, import.meta.url)).map(name => read(`${ENGINE}/${name}`));
  const sent = sources.flatMap(source => [...source.matchAll(/new (\w+?)Command\(/g)].map(match => match[1]));
  assert.ok(sent.length > 10);
  assert.equal(rows.flatMap(([, requests]) => words(requests)).toSorted(), [...new Set(sent)].toSorted());
});

test('each policy grants the actions of the table, and no others', () => {
  const needed = [...new Set(rows.flatMap(([, , actions]) => words(actions)))].toSorted();
  const policies = [...page.matchAll(/^```json\n(.*?)^```/gms)].map(match => match[1] ?? '');
  assert.is(policies.length, 2);
  for (const policy of policies) {
    const granted = [...policy.matchAll(/"(s3:\w+)"/g)].map(match => match[1]);
    assert.equal([...new Set(granted)].toSorted(), needed);
  }
});

test.run();
