/** Why a location cannot be removed now, in words, and what to do first. */
import type { Obstacles, StuckBlob } from '../../lib/metadata/removal.js';
import { fail, type StatusError } from '../../lib/rpc/errors.js';

/** What stands in the way, whatever can be copied away; undefined if nothing does. */
export function refusalOf(location: string, obstacles: Obstacles): StatusError | undefined {
  const { isOnly, processes, namespaces, adopted } = obstacles;
  const reasons: string[] = [];
  if (isOnly) reasons.push(`${location} is the only location that is in use: add another one first`);
  if (processes.length > 0) {
    reasons.push(
      `${counted(processes.length, 'process')} that run${processes.length === 1 ? 's' : ''} (${listed(processes)}) ` +
        `must have every blob in ${location}: name the others in DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS (without that ` +
        'key it is all of DISTRIBUTED_STORAGE_CONFIG), and restart',
    );
  }
  if (namespaces.length > 0) {
    reasons.push(
      `the namespaces ${listed(namespaces)} may be written to ${location} only: give them another location first ` +
        '(SetNamespaceLocations)',
    );
  }
  if (adopted) {
    reasons.push(
      `${location} holds what was taken over from its store: let go of it first (ReleaseAdopted), or use \`force\``,
    );
  }
  return reasons.length > 0 ? fail.refused(reasons.join('; ')) : undefined;
}

/** Blobs that cannot be copied away. `known`: some worker could reach the location, if it were there. */
export function lastCopies(location: string, count: number, examples: readonly StuckBlob[], known: boolean) {
  const shown = examples.map(({ digest, reason }) => (reason ? `${digest} (${reason})` : digest));
  const cure = known
    ? 'see that it can be read and that another location can be written to, and call again'
    : `no worker has ${location} in its configuration: put its entry back into DISTRIBUTED_STORAGE_CONFIG and ` +
      'ENTREPOT_LOCATIONS, restart a worker, and call again';
  return fail.refused(
    `${location} has the last verified copy of ${counted(count, 'blob')}: ${listed(shown, count)}; ${cure}; ` +
      'or use `force`, which gives those blobs up',
  );
}

export function counted(count: number, what: string): string {
  const plural = what.endsWith('s') ? `${what}es` : `${what}s`;
  return `${count} ${count === 1 ? what : plural}`;
}

function listed(items: readonly string[], count = items.length): string {
  const shown = items.slice(0, 5);
  return count > shown.length ? `${shown.join(', ')}, and ${count - shown.length} more` : shown.join(', ');
}
