/** docs/api.md says all that clients can meet, and nothing else. */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { ERROR_CODES, oci } from '../../gateway/http/errors.js';
import { MOST_TAGS } from '../../gateway/registry/manifests.js';
import { LARGEST_PAGE } from '../../gateway/registry/pages.js';
import { parseDigest } from '../../lib/oci/digest.js';
import { parseRepository } from '../../lib/oci/name.js';
import { digestOf } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('gateway: documentation');
const text = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a sample is malformed');
  return value;
}
const digest = known(parseDigest(digestOf(Buffer.alloc(0))));
const repository = known(parseRepository('a/b'));

/** Arguments for each error there is; one that is missing here does not compile. */
const samples: { readonly [K in keyof typeof oci]: Parameters<(typeof oci)[K]> } = {
  blobUnknown: [digest],
  uploadUnknown: [],
  uploadBusy: [],
  uploadTakenOver: [],
  uploadMisplaced: [],
  uploadRange: ['why', {}],
  digestMalformed: ['x'],
  digestMissing: [],
  digestMismatch: ['why'],
  algorithmUnsupported: ['md5'],
  manifestBlobUnknown: [[digest]],
  manifestInvalid: ['why'],
  manifestUnknown: ['v1'],
  tagMalformed: ['-'],
  nameInvalid: ['A'],
  nameUnknown: [repository],
  sizeInvalid: ['why'],
  tooLarge: ['why'],
  rangeUnsatisfiable: [1],
  unauthorized: ['Basic realm="x"'],
  signInLimited: [1],
  readOnly: ['why'],
  pushesDisabled: ['why'],
  denied: ['why'],
  methodUnsupported: ['PUT', ['GET']],
  routeUnknown: [],
  tooManyTags: [1],
  parameterInvalid: ['why'],
  headTooLarge: [],
  headTooSlow: [],
  hostMissing: [],
  notHttp: [],
  tooManyRequests: ['why'],
  unavailable: ['why'],
  shortOfQuorum: ['why', []],
  unexpected: [new Error('why')],
};

const errors = (Object.keys(samples) as (keyof typeof oci)[]).map(name => {
  const make = oci[name] as (...args: readonly unknown[]) => ReturnType<(typeof oci)[keyof typeof oci]>;
  return make(...samples[name]);
});

test('every error is documented with its cause and cure, and no other', () => {
  const rows = [...text.matchAll(/^\| (\d{3}) \| `(\w+)` \| (.+) \| (.+) \|$/gm)];
  assert.equal(
    rows.map(([, status, code]) => `${status} ${code}`).sort(),
    [...new Set(errors.map(({ status, code }) => `${status} ${code}`))].sort(),
  );
  for (const [row, , , cause = '', cure = ''] of rows) assert.ok(cause.length > 10 && cure.length > 10, row);
  assert.equal([...new Set(errors.map(({ code }) => code))].sort(), ERROR_CODES.toSorted());
});

test('Error Codes: an error of the client has a code of the specification; who should wait is told how long', () => {
  const specified = ERROR_CODES.filter(code => code !== 'UNAVAILABLE' && code !== 'UNKNOWN');
  assert.is(specified.length, 14);
  for (const { status, code, headers, message } of errors) {
    assert.is(specified.includes(code as (typeof specified)[number]), status < 500, `${status} ${code}`);
    if (status === 429 || status === 503) assert.ok(Number(headers['Retry-After']) > 0, message);
    if (status === 405) assert.type(headers.Allow, 'string');
    if (status === 401) assert.type(headers['WWW-Authenticate'], 'string');
  }
});

test('the limits are those of the code', () => {
  assert.match(text, `| entries of a page | ${LARGEST_PAGE} |`);
  assert.match(text, `| tags in the query of one push | ${MOST_TAGS} |`);
});

test.run();
