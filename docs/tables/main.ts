/** `npm run docs`: writes the tables of the documentation that are made from the code. */
import { readFileSync, writeFileSync } from 'node:fs';
import { withTables } from './configuration.js';

const page = new URL('../../../docs/configuration.md', import.meta.url);

const before = readFileSync(page, 'utf8');
const after = withTables(before);
if (after !== before) writeFileSync(page, after);
process.stdout.write(`docs/configuration.md: ${after === before ? 'as it should be' : 'written'}\n`);
