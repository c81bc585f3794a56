/** The copying part of a worker, inside the test's process: real stores and a real database, and calls that a test may change. */
import type { Locations } from '../../lib/locations/locations.js';
import { type Digest, digestOf } from '../../lib/oci/digest.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Crossings } from '../../worker/crossing/crossings.js';
import { Copies } from '../../worker/replicate/copies.js';
import { type HeldJob, Leases } from '../../worker/replicate/leases.js';
import { Outcomes } from '../../worker/replicate/outcomes.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { claimAll } from '../support/claims.js';
import { type Metadata, openLocations, openMetadata, quiet } from '../support/clients.js';
import { newRepository } from '../support/rows.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd } from '../support/suite.js';

export const BOTH = ['usstorage', 'eustorage'];

/** Two locations where every blob must be, without a worker. Ends with the suite. */
export async function startTwoLocations(): Promise<{ stack: Stack; m: Metadata; locations: Locations }> {
  const stack = await startStack({ parts: ['storage-proxy-us', 'storage-proxy-eu'] });
  const m = openMetadata(stack.databaseUrl);
  await m.places.register(BOTH);
  await m.places.setDefaults(BOTH, true);
  return { stack, m, locations: openLocations(stack) };
}

export function storeOf(locations: Locations, name: string) {
  const store = locations.get(name)?.store;
  if (!store) throw new Error(`no ${name}`);
  return store;
}

/** Puts a blob into a location, and on record: it is queued where it must be, too. */
export async function putBlob(m: Metadata, locations: Locations, location: string, data: Buffer): Promise<Digest> {
  const digest = digestOf(data);
  const store = storeOf(locations, location);
  const begun = await store.begin({ digest });
  const end = await store.append(begun.session, once(data), () => {});
  await store.commit(end.session, digest);
  await m.blobs.record({ repository: newRepository(), digest, size: data.length, location, traceId: '' });
  return digest;
}

/** Claims all that is due to a location, and what makes its copies. Ends with the suite. */
export async function claimCopies(
  m: Metadata,
  locations: Locations,
  target: string,
): Promise<{ copies: Copies; jobs: HeldJob[] }> {
  const leases = new Leases(m.replication, quiet);
  atEnd(() => leases.close());
  const crossings = new Crossings();
  atEnd(() => crossings.close());
  const common = { replication: m.replication, locations, ending: new AbortController().signal };
  const outcomes = new Outcomes({ ...common, leases, metrics: new WorkerMetrics('worker', 'test'), log: quiet });
  const copies = new Copies({ ...common, outcomes, crossings, throttleOf: () => new Throttle() });
  const jobs = (await claimAll(m.replication, target)).map(job => leases.hold(job));
  return { copies, jobs };
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** A source's first bytes: then it breaks off. */
export async function* upTo(bytes: number, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let at = 0;
  for await (const piece of source) {
    if (at + piece.length > bytes) throw new Error('the source broke off');
    at += piece.length;
    yield piece;
  }
}
