/** What a verification tells on its way. */
import type { VerificationCounts } from '../../lib/metadata/verification.js';
import type { Digest } from '../../lib/oci/digest.js';

/** Something that is not as it should be. */
export interface Found {
  readonly kind: 'missing' | 'corrupt' | 'unreferenced';
  readonly digest: Digest;
  readonly size: number;
  readonly detail: string;
}

export type VerifyEvent =
  | {
      readonly kind: 'progress';
      readonly counts: VerificationCounts;
      /** Copies that are recorded. */
      readonly total: number;
      readonly done: boolean;
    }
  | { readonly kind: 'found'; readonly found: Found };
