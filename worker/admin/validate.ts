/** What callers of the Admin service send, checked. Everything here throws `fail.malformed`, which names the field. */

import type { Reference } from '../../lib/metadata/manifests.js';
import { type Digest, parseDigest } from '../../lib/oci/digest.js';
import { parseRepository, parseTag, type RepositoryName } from '../../lib/oci/name.js';
import { asSize } from '../../lib/oci/size.js';
import { fail } from '../../lib/rpc/errors.js';

const LONGEST_NAME = 255;

/** The name of a location, which must be given; only the database knows whether there is one of that name. */
export function asLocation(field: string, value: string): string {
  if (value === '') throw fail.malformed(`${field} is missing`);
  if (value.length <= LONGEST_NAME && !/\p{Cc}/u.test(value)) return value;
  throw fail.malformed(`${field} is not a location's name: ${shown(value)}`);
}

/**
 * What one of the values of an enum stands for; `meanings` has one for each. Of a value that we do not know, from a
 * client that is newer, there is only the number, whatever its type says.
 */
export function asChoice<Choice extends string, Meaning>(
  field: string,
  value: Choice,
  meanings: Readonly<Record<Choice, Meaning>>,
): Meaning {
  if (Object.hasOwn(meanings, value)) return meanings[value];
  const choices = Object.keys(meanings).filter(each => !each.endsWith('_UNSPECIFIED'));
  throw fail.malformed(`${field} must be one of ${choices.join(', ')}: ${value}`);
}

export function asDigest(field: string, value: string): Digest {
  const digest = parseDigest(value);
  if (!digest) throw fail.malformed(`${field} is not a digest: ${shown(value)}`);
  return digest;
}

/** A namespace: the first component of a repository's name. */
export function asNamespace(field: string, value: string): string {
  if (parseRepository(value) === undefined || value.includes('/')) {
    throw fail.malformed(`${field} is not a namespace, the first component of a repository's name: ${shown(value)}`);
  }
  return value;
}

export function asRepository(field: string, value: string): RepositoryName {
  const repository = parseRepository(value);
  if (!repository) throw fail.malformed(`${field} is not a repository's name: ${shown(value)}`);
  return repository;
}

/** A tag or a digest. */
export function asReference(field: string, value: string): Reference {
  if (value.includes(':')) return { digest: asDigest(field, value) };
  const tag = parseTag(value);
  if (!tag) throw fail.malformed(`${field} is neither a tag nor a digest: ${shown(value)}`);
  return { tag };
}

const LONGEST_REMARK = 500;

/** A text for people, of one line. May be empty. */
export function asRemark(field: string, value: string): string {
  if (value.length <= LONGEST_REMARK && !/\p{Cc}/u.test(value)) return value;
  throw fail.malformed(`${field} must be one line of ${LONGEST_REMARK} characters at most: ${shown(value)}`);
}

/** A whole number, 0 or more; 0 stands for "none", and is undefined. */
export function asLimit(field: string, value: number): number | undefined {
  try {
    return asSize(value) || undefined;
  } catch {
    throw fail.malformed(`${field} must be a whole number, 0 or more: ${shown(String(value))}`);
  }
}

function shown(value: string): string {
  return JSON.stringify(value.slice(0, 160));
}
