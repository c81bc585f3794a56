/**
 * A hash of what all processes of a registry should have in common. Each tells it to the others (lib/metadata/processes.ts):
 * two that differ were started with different files, and would, for example, want blobs in different places.
 *
 * Nothing secret is part of it, and nothing that may well differ: how a process reaches the database or the nodes, what it
 * listens on, its preference, who may do what at it, and whether it takes pushes.
 */
import { createHash } from 'node:crypto';
import type { Config } from './config.js';

/** What should be the same everywhere. */
type Shared = Pick<
  Config,
  | 'locations'
  | 'defaultLocations'
  | 'replication'
  | 'writeQuorum'
  | 'writeQuorumSeconds'
  | 'libraryNamespace'
  | 'maximumLayerSize'
  | 'maximumManifestSize'
  | 'uploadExpiryMinutes'
  | 'sparseImages'
>;

/** 16 hex digits. */
export function fingerprint(config: Shared): string {
  const shared = [
    // Their order is the preference of whoever has none of its own.
    config.locations.map(location => location.name),
    config.defaultLocations.toSorted(),
    config.replication,
    config.writeQuorum,
    config.writeQuorumSeconds,
    config.libraryNamespace,
    config.maximumLayerSize,
    config.maximumManifestSize,
    config.uploadExpiryMinutes,
    config.sparseImages,
  ];
  return createHash('sha256').update(JSON.stringify(shared)).digest('hex').slice(0, 16);
}
