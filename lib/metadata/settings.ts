/** What the statements must know of the configuration. */
import type { Config } from '../config/config.js';
import { type RepositoryName, splitRepository } from '../oci/name.js';

export interface MetadataSettings {
  /** The namespace of repositories whose name has one component. */
  readonly libraryNamespace: string;
  /** The locations where every blob must be; undefined if replication is switched off. */
  readonly required: readonly string[] | undefined;
}

export function settingsOf(config: Config): MetadataSettings {
  return {
    libraryNamespace: config.libraryNamespace,
    required: config.replication ? config.defaultLocations : undefined,
  };
}

/** A repository's namespace and name in it, in the order in which all statements take them. */
export function namePair(settings: MetadataSettings, repository: RepositoryName): [namespace: string, name: string] {
  const { namespace, rest } = splitRepository(repository, settings.libraryNamespace);
  return [namespace, rest];
}
