/** In which order files begin. */

/**
 * Those that take more than a minute, or in the plain tier more than half of one. They begin first: a long one that begins
 * last runs alone at the end, while the other places are empty. A file that is missing here costs that time, and one that is
 * gone costs nothing.
 */
const LONG = [
  'engines/swift-s3',
  'engines/ceph-s3',
  'engines/versity-s3',
  'engines/swift-grpc',
  'engines/swift-direct',
  'engines/ceph-grpc',
  'ci/scheduling',
  'ci/memory',
  'ci/crossing',
  'ci/resume',
  'ci/replicate',
  'ci/kills',
  'ci/mixed-engines',
  'ci/kill-sweep',
  'ci/conformance',
  'ci/admin-commands',
  'local/launcher',
  'locations/fail-over',
  'gateway/uploads',
].map(name => `${name}.test.js`);

/** The files (paths relative to the tests' folder), those first that take longest. */
export function longestFirst(files: readonly string[]): string[] {
  const first = LONG.filter(file => files.includes(file));
  return [...first, ...files.filter(file => !first.includes(file))];
}
