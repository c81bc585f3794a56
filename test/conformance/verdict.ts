/** Runs the conformance suite, shows its figures, and takes nothing but passes. */
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../support/tmp.js';
import { leaves, runSuite, type SuiteOptions, type SuiteResult, type Version } from './oci-suite.js';

/** What may end without a pass, and how. Nothing may be skipped. */
const excused: Readonly<Record<Version, Readonly<Record<string, string>>>> = {
  stable: {
    // To cancel an upload is not in the stable specification; `dev` asks for it.
    'OCI Conformance Test/sha256 blobs/post cancel/blob-post-cancel': 'Disabled',
    'OCI Conformance Test/sha512 blobs/post cancel/blob-post-cancel': 'Disabled',
  },
  dev: {},
};

/** Fails unless all of the suite passes. `name` is shown before the figures. */
export async function conforms(name: string, options: Omit<SuiteOptions, 'folder'>): Promise<void> {
  const begun = performance.now();
  const result = await runSuite({ ...options, folder: await temporaryFolder('oci-conformance') });
  show(name, result, performance.now() - begun);
  const { counts, tests, apis } = result;
  const bad = leaves(tests).filter(({ status }) => status !== 'Pass');
  assert.equal(Object.fromEntries(bad.map(each => [each.name, each.status])), excused[options.version]);
  const { Skip, FAIL, Error: errors } = counts;
  assert.equal({ Skip, FAIL, errors }, { Skip: 0, FAIL: 0, errors: 0 });
  // The suite is content without it.
  assert.is(apis['Blob anonymous mount'], 'Pass');
}

function show(name: string, { counts, tests }: SuiteResult, ms: number): void {
  const { Pass, Skip, Disabled, FAIL, Error: errors } = counts;
  const figures = `${Pass} pass, ${Skip} skip, ${Disabled} disabled, ${FAIL + errors} fail`;
  console.log(`${name}: ${figures} (${(ms / 1000).toFixed(1)} s)`);
  for (const each of leaves(tests)) {
    if (each.status !== 'Pass')
      console.log(`  ${each.status}: ${each.name}${each.errors.map(e => `\n    ${e}`).join('')}`);
  }
}
