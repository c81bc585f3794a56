/** The version of the software that is running. */
import { readFileSync } from 'node:fs';

const file: unknown = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));

/** As in package.json. */
export const version: string =
  typeof file === 'object' && file !== null && 'version' in file && typeof file.version === 'string'
    ? file.version
    : 'unknown';
