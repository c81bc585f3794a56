/** The users file: whether a gateway would start with it. */
import { readFileSync } from 'node:fs';
import type { SignInConfig } from '../../lib/config/config.js';
import { parseUsersFile } from '../../lib/users/users-file.js';
import { counted } from '../output/format.js';
import { reasonOf } from '../output/reason.js';
import { bad, type Finding, good } from './finding.js';

const KEY = 'ENTREPOT_USERS_FILE';

export function lookAtUsers({ usersFile, superUsers }: SignInConfig, libraryNamespace: string): Finding {
  let text: string;
  try {
    text = readFileSync(usersFile, 'utf8');
  } catch (error) {
    return bad('users', KEY, reasonOf(error));
  }
  const result = parseUsersFile(text, { libraryNamespace, superUsers });
  if (!('mistakes' in result)) return good('users', `${counted(result.users.all.length, 'user')} in ${usersFile}`);
  return { what: 'users', good: undefined, problems: result.mistakes.map(message => ({ key: KEY, message })) };
}
