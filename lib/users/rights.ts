/**
 * What somebody may do, and with which repositories.
 *
 * A set of repositories is written as patterns: `team/app` is one repository, `team/*` all whose name begins with
 * `team/`, `*` all. Names are meant in full, with their namespace: `node` is `library/node`.
 */
import { parseRepository, type RepositoryName, splitRepository } from '../oci/name.js';

export type Action = 'pull' | 'push' | 'delete';

/** The beginning of a repository's name. */
const PREFIX = /^[a-z0-9][a-z0-9._/-]*$/;

/** A repository's name with its namespace. */
export function fullName(repository: RepositoryName, libraryNamespace: string): string {
  const { namespace, rest } = splitRepository(repository, libraryNamespace);
  return `${namespace}/${rest}`;
}

/** A set of repositories. Both lists hold full names, so that a statement on the database can be given them as they are. */
export class RepositorySet {
  static readonly none = new RepositorySet([], []);
  static readonly all = new RepositorySet([], ['']);

  readonly names: readonly string[];
  readonly prefixes: readonly string[];
  readonly #names: ReadonlySet<string>;

  constructor(names: readonly string[], prefixes: readonly string[]) {
    this.names = names;
    this.prefixes = prefixes;
    this.#names = new Set(names);
  }

  /** The repositories that any of the patterns means; undefined in the place of one that is malformed. */
  static parse(pattern: string, libraryNamespace: string): RepositorySet | undefined {
    if (pattern === '*') return RepositorySet.all;
    if (pattern.endsWith('*')) {
      const prefix = pattern.slice(0, -1);
      return PREFIX.test(prefix) && !prefix.includes('//') ? new RepositorySet([], [prefix]) : undefined;
    }
    const repository = parseRepository(pattern);
    return repository && new RepositorySet([fullName(repository, libraryNamespace)], []);
  }

  has(name: string): boolean {
    return this.#names.has(name) || this.prefixes.some(prefix => name.startsWith(prefix));
  }

  get isEmpty(): boolean {
    return this.names.length === 0 && this.prefixes.length === 0;
  }

  with(other: RepositorySet): RepositorySet {
    if (other.isEmpty) return this;
    if (this.isEmpty) return other;
    return new RepositorySet(
      [...new Set([...this.names, ...other.names])],
      [...new Set([...this.prefixes, ...other.prefixes])],
    );
  }
}

/** For each action, with which repositories. */
export type Rights = Readonly<Record<Action, RepositorySet>>;

export const noRights: Rights = { pull: RepositorySet.none, push: RepositorySet.none, delete: RepositorySet.none };
export const allRights: Rights = { pull: RepositorySet.all, push: RepositorySet.all, delete: RepositorySet.all };
export const pullRights: Rights = { ...noRights, pull: RepositorySet.all };

/** What either allows. */
export function bothRights(one: Rights, other: Rights): Rights {
  return {
    pull: one.pull.with(other.pull),
    push: one.push.with(other.push),
    delete: one.delete.with(other.delete),
  };
}
