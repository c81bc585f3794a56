/** What the conformance suite says is read as it is meant: nothing that is not a pass looks like one. */
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { leaves, readReport } from './oci-suite.js';

const test = suite('reading the conformance suite');

/** As the suite prints it, without what is not read. */
const printed = `Test results
OCI Conformance Test: FAIL
  OCI Conformance Test/ping: Pass
  OCI Conformance Test/blobs: FAIL
    OCI Conformance Test/blobs/put: FAIL
     - unexpected status code, expected one of [201], received 404
wanted: Pass
    OCI Conformance Test/blobs/mount anonymous: Skip
     - not supported
  OCI Conformance Test/blobs-2: Disabled

Configuration:
  registry: localhost:5000

OCI Conformance Result: FAIL
  Disabled......................:          1
  Skip..........................:          2
  Pass..........................:         30
  FAIL..........................:          4
  Error.........................:          0
  Total.........................:         37
`;
const results = 'config:\n  version: "1.1"\napis:\n  Ping: Pass\n  Blob anonymous mount: Skip\ndata: {}\n';

test('counts, tests with their errors, and the parts of the API', () => {
  const result = readReport(printed, results);
  assert.equal(result?.counts, { Pass: 30, Skip: 2, Disabled: 1, FAIL: 4, Error: 0 });
  assert.is(result?.apis['Blob anonymous mount'], 'Skip');
  assert.equal(
    leaves(result?.tests ?? []).map(({ name, status, errors }) => [name.split('/').slice(1).join('/'), status, errors]),
    [
      ['ping', 'Pass', []],
      ['blobs/put', 'FAIL', ['unexpected status code, expected one of [201], received 404', 'wanted: Pass']],
      ['blobs/mount anonymous', 'Skip', ['not supported']],
      ['blobs-2', 'Disabled', []],
    ],
  );
});

test('a report that is not whole is none', () => {
  for (const [text, file] of [
    ['', results],
    [printed.replace(/^ {2}Error.*$/m, ''), results],
    [printed, ''],
    [printed, 'apis: 1'],
    [printed.replaceAll('OCI Conformance Test', 'Something else'), results],
  ] as const) {
    assert.is(readReport(text, file), undefined);
  }
});

test.run();
