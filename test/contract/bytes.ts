/** What lives in test/support now, for test/locations/striped.test.ts. */
export { pattern } from '../support/bytes.js';
export { rejects } from '../support/rejects.js';
export { finished, soon } from '../support/wait.js';
