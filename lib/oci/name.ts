/** Repository names and tags, by the grammar of the OCI distribution specification ("Pulling manifests"). */

/** A well-formed repository name, for example `library/node` or `a/b/c`. */
export type RepositoryName = string & { readonly __repository: unique symbol };

/** A well-formed tag. */
export type Tag = string & { readonly __tag: unique symbol };

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Longer names leave clients no room for a host name within the 255 characters that they accept. */
export const LONGEST_NAME = 255;

/** The repository name that `text` is, or undefined if it is not one. */
export function parseRepository(text: string): RepositoryName | undefined {
  return text.length <= LONGEST_NAME && REPOSITORY.test(text) ? (text as RepositoryName) : undefined;
}

/** The tag that `text` is, or undefined if it is not one. */
export function parseTag(text: string): Tag | undefined {
  return TAG.test(text) ? (text as Tag) : undefined;
}

/**
 * Where a repository stands in the database: its namespace is the first component, a name of one component lives in
 * `libraryNamespace`. So `node` and `library/node` are the same repository.
 */
export function splitRepository(name: RepositoryName, libraryNamespace: string): { namespace: string; rest: string } {
  const slash = name.indexOf('/');
  return slash < 0
    ? { namespace: libraryNamespace, rest: name }
    : { namespace: name.slice(0, slash), rest: name.slice(slash + 1) };
}
