/**
 * The users file: a YAML mapping of names to password hashes and rights.
 *
 *     alice:
 *       password: $argon2id$v=19$m=19456,t=2,p=1$…
 *       push: [team/*]
 *
 * Who may push may also pull, and so may who may delete. Mistakes name the line and the key, and nothing of a hash.
 */
import { z } from 'zod';
import { parseYaml } from '../config/yaml-text.js';
import { mistakeInHash } from './password.js';
import { allRights, RepositorySet, type Rights } from './rights.js';
import { type User, Users } from './users.js';

export interface UsersFileOptions {
  /** The namespace of repositories whose name has only one component. */
  readonly libraryNamespace: string;
  /** Those of the users who may do everything. */
  readonly superUsers: readonly string[];
}

/** The users, and what should be said though nothing is wrong; or what is wrong with the text. */
export type UsersFileResult =
  | { readonly users: Users; readonly notices: readonly string[] }
  | { readonly mistakes: readonly string[] };

const NAME = /^[a-z0-9]+(?:[._-][a-z0-9]+)*(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?$/;
const NAME_FORM = 'a name has 2 to 255 small letters and digits, with . _ - between them; a robot is namespace+name';

/** Whether a text can be a user's name. */
export function isUserName(text: string): boolean {
  return text.length >= 2 && text.length <= 255 && NAME.test(text);
}

const FORM = 'must be a mapping, with password and lists of repositories: pull, push, delete';
const LIST = "must be a list of repositories, for example [team/*, library/node]; all of them are ['*']";
const PATTERN = "must be the name of a repository, or its beginning and '*', for example team/*";

function userSchema(libraryNamespace: string) {
  const pattern = z.string({ error: PATTERN }).transform((text, context): RepositorySet => {
    const set = RepositorySet.parse(text, libraryNamespace);
    if (set) return set;
    context.addIssue({ code: 'custom', message: PATTERN });
    return z.NEVER;
  });
  const list = z
    .array(pattern, { error: LIST })
    .transform(sets => sets.reduce((all, each) => all.with(each), RepositorySet.none))
    .nullish()
    .transform(set => set ?? RepositorySet.none);
  const password = z.unknown().transform((value, context): string => {
    const mistake = typeof value === 'string' ? mistakeInHash(value) : mistakeInHash('');
    if (mistake === undefined && typeof value === 'string') return value;
    context.addIssue({ code: 'custom', message: mistake ?? '' });
    return z.NEVER;
  });
  return z.strictObject(
    { password, pull: list, push: list, delete: list },
    {
      error: issue =>
        issue.code === 'unrecognized_keys' ? 'unknown key; known are password, pull, push, delete' : FORM,
    },
  );
}

/** Reads the text of a users file. */
export function parseUsersFile(text: string, { libraryNamespace, superUsers }: UsersFileOptions): UsersFileResult {
  const yaml = parseYaml(text);
  if ('mistakes' in yaml) return yaml;
  const { value, lineOf } = yaml;
  // An empty file is more likely to be half-written than meant: that nobody may sign in is written {}.
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { mistakes: ['the file must be a mapping of names to users; {} if there are none'] };
  }
  const schema = userSchema(libraryNamespace);
  const mistakes: string[] = [];
  const users: User[] = [];
  const mistake = (path: readonly PropertyKey[], message: string) => {
    mistakes.push(`line ${lineOf(path)}: ${path.map(String).join('.')}: ${message}`);
  };
  for (const [name, entry] of Object.entries(value)) {
    if (!isUserName(name)) mistake([name], NAME_FORM);
    const result = schema.safeParse(entry);
    if (!result.success) {
      for (const issue of result.error.issues) {
        const keys = issue.code === 'unrecognized_keys' ? issue.keys : [undefined];
        for (const key of keys) mistake([name, ...issue.path, ...(key === undefined ? [] : [key])], issue.message);
      }
      continue;
    }
    const { password, ...lists } = result.data;
    const rights = superUsers.includes(name) ? allRights : completed(lists);
    users.push({ name, passwordHash: password, rights });
  }
  if (mistakes.length > 0) return { mistakes };
  const absent = superUsers.filter(name => !users.some(user => user.name === name));
  return {
    users: new Users(users),
    notices: absent.map(
      name => `${name} is one of SUPER_USERS, and is not in the users file: nobody can sign in as that`,
    ),
  };
}

function completed(lists: Rights): Rights {
  return { ...lists, pull: lists.pull.with(lists.push).with(lists.delete) };
}
