/** What a removal tells on its way. */
import type { ImageWithBlob } from '../../lib/metadata/removal.js';

export type RemovePhase = 'draining' | 'deleting placements' | 'deleting objects' | 'done';

export interface RemoveProgress {
  readonly phase: RemovePhase;
  /** Blobs that are only there, as far as is known. */
  readonly onlyCopies: number;
  readonly uploads: number;
  readonly placements: number;
  /** Empty if it does not wait. */
  readonly waitingFor: string;
}

export type RemovalEvent =
  | { readonly kind: 'progress'; readonly progress: RemoveProgress }
  | { readonly kind: 'deleted'; readonly placement: number }
  | { readonly kind: 'broken'; readonly image: ImageWithBlob }
  | { readonly kind: 'removed'; readonly location: string };
