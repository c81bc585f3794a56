/**
 * Refuses what the registry does not take now: read-only it takes neither pushes nor deletes; with pushes disabled it takes
 * no pushes. Decided by the method alone, so that no resource can forget it. Reads go on, and so does replication, which is
 * none of a gateway's business.
 */
import type { Mode } from '../../lib/metadata/mode.js';
import { oci } from '../http/errors.js';

const READS: readonly string[] = ['GET', 'HEAD'];

/** Throws DENIED if a request with this method is not taken. */
export function demandTaken(method: string, { readOnly, pushesDisabled, reason }: Mode): void {
  if (READS.includes(method)) return;
  if (readOnly) throw oci.readOnly(reason);
  // Deleting, also an upload that was begun before, adds nothing.
  if (pushesDisabled && method !== 'DELETE') throw oci.pushesDisabled(reason);
}
