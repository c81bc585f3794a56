/** What the statements must know of the configuration. */
import type { Config } from '../config/config.js';
import { type RepositoryName, splitRepository } from '../oci/name.js';

export interface MetadataSettings {
  /** The namespace of repositories whose name has one component. */
  readonly libraryNamespace: string;
  /** Whether copies are queued at all (`FEATURE_STORAGE_REPLICATION`); where they go is in the database. */
  readonly replicate: boolean;
  /** A manifest is tagged once so many required locations hold all of it (`ENTREPOT_WRITE_QUORUM`); 1 waits for none. */
  readonly writeQuorum: number;
  /** Whether an image may be pushed without all of its blobs (`ENTREPOT_SPARSE_IMAGES`). */
  readonly sparseImages?: boolean;
}

export function settingsOf(config: Config): MetadataSettings {
  return {
    libraryNamespace: config.libraryNamespace,
    replicate: config.replication,
    writeQuorum: config.writeQuorum,
    sparseImages: config.sparseImages,
  };
}

/** A repository's namespace and name in it, in the order in which all statements take them. */
export function namePair(settings: MetadataSettings, repository: RepositoryName): [namespace: string, name: string] {
  const { namespace, rest } = splitRepository(repository, settings.libraryNamespace);
  return [namespace, rest];
}
