/**
 * Where a repository's bytes may be written: a namespace may be kept in locations of its own only.
 *
 * The query that records an upload decides, before a byte is sent, and answers where it may be; that is remembered for a
 * few seconds, so that the next uploads begin in the right place at once. A blob that comes as the body of the POST has
 * no such query: for it, what is not remembered is asked first.
 */
import { LRUCache } from 'lru-cache';
import type { AllowedLocations, Namespaces } from '../../lib/metadata/namespaces.js';
import type { RepositoryName } from '../../lib/oci/name.js';

/** A namespace's new locations are in force everywhere after this time. */
const KEPT_MS = 5_000;
const MOST_REPOSITORIES = 10_000;

export class Residency {
  readonly #namespaces: Namespaces;
  readonly #answers = new LRUCache<RepositoryName, { allowed: AllowedLocations }>({
    max: MOST_REPOSITORIES,
    ttl: KEPT_MS,
  });

  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces;
  }

  /** What is remembered; if nothing is, any location will do until the database says otherwise. */
  guess(repository: RepositoryName): AllowedLocations {
    return this.#answers.get(repository)?.allowed;
  }

  /** Takes note of what the database answered. */
  note(repository: RepositoryName, allowed: AllowedLocations): void {
    this.#answers.set(repository, { allowed });
  }

  /** What is remembered, or else what the database says. */
  async find(repository: RepositoryName): Promise<AllowedLocations> {
    const remembered = this.#answers.get(repository);
    if (remembered) return remembered.allowed;
    const allowed = await this.#namespaces.allowedFor(repository);
    this.note(repository, allowed);
    return allowed;
  }
}
