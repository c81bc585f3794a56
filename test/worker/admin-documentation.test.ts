/** docs/admin.md, and what `npm start` prints, show every call with a line that can be used; docs/locations.md some of them. */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { operationsText } from '../../deploy/local/screen.js';
import { ADMIN_PROTO, AdminStub } from '../../lib/rpc/proto.js';
import { loadReflected } from '../../lib/rpc/reflected.js';
import { suite } from '../support/suite.js';

const test = suite('worker: documentation of the Admin service');
const page = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
const reflected = loadReflected(ADMIN_PROTO);
const LINE =
  /grpcurl -plaintext((?: -[a-z-]+(?: \d+)?)*?)(?: -d '([^']*)')? (\S+:\d+|WORKER) entrepot\.admin\.v1\.Admin\/(\w+)$/;

/** A message's fields, by their names as reflection tells them, and the messages that some of them are. */
function fieldsOf(message: string): Map<string, string> {
  const found = reflected[`entrepot.admin.v1.${message}`];
  if (!found || !('type' in found)) throw new Error(`there is no message ${message}`);
  const { field } = found.type as { field: { name: string; typeName: string }[] };
  return new Map(field.map(({ name, typeName }) => [name, typeName]));
}

/** Fails if a request has a field that its message has not: grpcurl would refuse it. */
function checkFields(message: string, value: object, line: string): void {
  const fields = fieldsOf(message);
  for (const [name, inner] of Object.entries(value)) {
    assert.ok(fields.has(name), `${name} is no field of ${message}: ${line}`);
    if (typeof inner === 'object' && !Array.isArray(inner)) checkFields(fields.get(name) ?? '', inner, line);
  }
}

/** The calls that these lines make. */
function callsIn(lines: readonly string[]): string[] {
  return lines.map(line => {
    const [, , request, , name = ''] = LINE.exec(line) ?? [];
    assert.ok(name, `not of the form that is known: ${line}`);
    checkFields(`${name}Request`, JSON.parse(request ?? '{}'), line);
    return name;
  });
}
const linesIn = (from: string) => from.split('\n').filter(line => /^\s*\$? ?grpcurl /.test(line));

test('every call of the service is shown, and its requests have only fields that there are', () => {
  const shown = new Set(callsIn(linesIn(page('admin.md'))));
  assert.equal([...shown].sort(), Object.keys(AdminStub.service).sort());
});

test('the requests about locations have only fields that there are', () => {
  assert.ok(callsIn(linesIn(page('locations.md'))).length > 5);
});

test('what is printed by npm start has the form of the documentation', () => {
  const printed = linesIn(operationsText('127.0.0.1:7091'));
  assert.equal(callsIn(printed), ['BackfillReplication', 'WatchReplication', 'RemoveLocation']);
  assert.ok(printed.every(line => line.includes(' 127.0.0.1:7091 ')));
});

test.run();
