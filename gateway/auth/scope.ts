/**
 * What a token is for: the scopes of the Docker registry's token flow (https://distribution.github.io/distribution/spec/auth/scope/),
 * such as `repository:team/app:pull,push` and `registry:catalog:*`.
 */
import { parseRepository } from '../../lib/oci/name.js';
import { type Action, fullName, type Rights } from '../../lib/users/rights.js';

const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

/** A scope is not `<type>:<name>:<actions>`. The message says which, and is for the client. */
export class ScopeMalformed extends Error {
  override readonly name = 'ScopeMalformed';
}

/** How scopes are read. */
export interface ScopeOptions {
  readonly libraryNamespace: string;
  /** Clients may write a repository with the registry's name before it. */
  readonly serverHostname?: string | undefined;
}

/** One entry of a token's `access`. */
export interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** A token has to fit into the head of a request. */
const MOST_SCOPES = 50;

export class Scope {
  /** By the full names of repositories. */
  readonly #repositories: ReadonlyMap<string, ReadonlySet<Action>>;
  /** Whether it is for the list of all repositories. */
  readonly catalog: boolean;

  private constructor(repositories: ReadonlyMap<string, ReadonlySet<Action>>, catalog: boolean) {
    this.#repositories = repositories;
    this.catalog = catalog;
  }

  /**
   * Reads the scopes of a request; each text may hold several, separated by spaces. Types and actions that mean nothing
   * here are left out. Throws ScopeMalformed.
   */
  static parse(texts: readonly string[], options: ScopeOptions): Scope {
    const each = texts.flatMap(text => text.split(' ')).filter(text => text !== '');
    if (each.length > MOST_SCOPES) throw new ScopeMalformed(`one token may have ${MOST_SCOPES} scopes at most`);
    return Scope.of(
      each.map(text => {
        const match = /^([a-z]+)(?:\([a-z0-9]+\))?:(.+):([a-z_,*]*)$/i.exec(text);
        if (!match) throw new ScopeMalformed(`${quote(text)} is not a scope: <type>:<name>:<actions>`);
        const [, type = '', name = '', actions = ''] = match;
        return { type, name: type === 'repository' ? readName(name, options) : name, actions: actions.split(',') };
      }),
    );
  }

  /** The scope of a token's `access`. */
  static of(entries: readonly Access[]): Scope {
    const repositories = new Map<string, Set<Action>>();
    let catalog = false;
    for (const { type, name, actions } of entries) {
      if (type === 'registry' && name === 'catalog' && actions.includes('*')) catalog = true;
      if (type !== 'repository') continue;
      const known = repositories.get(name) ?? new Set();
      for (const action of ACTIONS) if (actions.includes(action) || actions.includes('*')) known.add(action);
      repositories.set(name, known);
    }
    return new Scope(repositories, catalog);
  }

  /** What of it the rights allow. What they do not is left out without a word, as clients expect: they ask for more than they need. */
  within(rights: Rights): Scope {
    const left = [...this.#repositories].map(([name, actions]): [string, Set<Action>] => [
      name,
      new Set([...actions].filter(action => rights[action].has(name))),
    ]);
    return new Scope(new Map(left), this.catalog);
  }

  covers(repository: string, action: Action): boolean {
    return this.#repositories.get(repository)?.has(action) ?? false;
  }

  /** As it stands in a token. */
  get access(): Access[] {
    const repositories = [...this.#repositories].map(([name, actions]) => ({
      type: 'repository',
      name,
      actions: [...actions],
    }));
    return this.catalog ? [...repositories, { type: 'registry', name: 'catalog', actions: ['*'] }] : repositories;
  }

  /** As it stands in the answer to an OAuth2 request. */
  toString(): string {
    return this.access.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ');
  }
}

function readName(text: string, { libraryNamespace, serverHostname }: ScopeOptions): string {
  const host = serverHostname === undefined ? undefined : `${serverHostname}/`;
  const name = host !== undefined && text.startsWith(host) ? text.slice(host.length) : text;
  const repository = parseRepository(name);
  if (!repository) throw new ScopeMalformed(`${quote(text)} is not a repository name`);
  return fullName(repository, libraryNamespace);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
