/** Users files for tests. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { hashPassword } from '../../lib/users/password.js';
import { temporaryFolder } from './tmp.js';

export interface TestUser {
  readonly password: string;
  readonly pull?: readonly string[];
  readonly push?: readonly string[];
  readonly delete?: readonly string[];
}

/** Writes a users file; its path. */
export async function writeUsers(users: Readonly<Record<string, TestUser>>, file?: string): Promise<string> {
  const entries = await Promise.all(
    Object.entries(users).map(async ([name, user]) => [name, { ...user, password: await hashPassword(user.password) }]),
  );
  const path = file ?? join(await temporaryFolder('users'), 'users.yaml');
  await writeFile(path, stringify(Object.fromEntries(entries)));
  return path;
}

/** What a gateway needs to have accounts. */
export function accounts(usersFile: string): Record<string, unknown> {
  return { ENTREPOT_USERS_FILE: usersFile, DATABASE_SECRET_KEY: 'a secret of the tests, long enough' };
}

/** The header of Basic. */
export function basic(name: string, password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` };
}
