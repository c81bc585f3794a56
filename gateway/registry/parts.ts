/** What the handlers are built from. */
import type { ManifestCache } from '../../lib/cache/manifests.js';
import type { Config } from '../../lib/config/config.js';
import type { Crossings } from '../../lib/locations/crossing.js';
import type { Locations } from '../../lib/locations/locations.js';
import type { ReplayBudget } from '../../lib/locations/replay.js';
import type { Blobs } from '../../lib/metadata/blobs.js';
import type { Manifests } from '../../lib/metadata/manifests.js';
import type { Mode } from '../../lib/metadata/mode.js';
import type { ReplicationSignal } from '../../lib/metadata/notify.js';
import type { Referrers } from '../../lib/metadata/referrers.js';
import type { Repositories } from '../../lib/metadata/repositories.js';
import type { Tags } from '../../lib/metadata/tags.js';
import type { Uploads } from '../../lib/metadata/uploads.js';
import type { Authorizer } from '../auth/authorize.js';
import type { Residency } from './residency.js';
import type { WrittenUploads } from './written-uploads.js';

export interface Parts {
  readonly config: Pick<Config, 'maximumLayerSize' | 'maximumManifestSize' | 'writeQuorumSeconds'>;
  readonly authorizer: Authorizer;
  /** What the registry takes now. */
  readonly mode: () => Mode;
  readonly locations: Locations;
  /** Where pulls of what this region still lacks share the way from other regions; undefined: nothing is copied. */
  readonly crossings: Crossings | undefined;
  /** What all uploads of this gateway may keep, to give it to another node. */
  readonly replayBudget: ReplayBudget;
  readonly blobs: Blobs;
  readonly residency: Residency;
  readonly uploads: Uploads;
  readonly writtenUploads: WrittenUploads;
  readonly manifests: Manifests;
  readonly manifestCache: ManifestCache;
  readonly tags: Tags;
  readonly referrers: Referrers;
  readonly repositories: Repositories;
  readonly replicationSignal: ReplicationSignal;
}
