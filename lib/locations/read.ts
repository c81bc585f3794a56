/**
 * Reading one blob from whichever location can give it.
 *
 * Bytes are named by their digest, so every location has the same ones: when a location fails, reading goes on at the
 * next, at the byte where it stopped, and the client notices nothing. One that this region still lacks is read from the
 * copy that is being made of it, if that can be had (crossing.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../oci/digest.js';
import { fail, isTransient } from '../rpc/errors.js';
import type { Crossing, Crossings, Next } from './crossing.js';
import type { Location } from './location.js';
import type { Locations } from './locations.js';
import type { StoreContext } from './store.js';

/** No location could give the blob now. */
export class BlobUnavailable extends Error {
  override readonly name = 'BlobUnavailable';
  /** For clients: without the nodes' own words, which tell addresses that are nobody's business. */
  readonly summary: string;
  readonly attempts: readonly { readonly location: string; readonly error: unknown }[];

  constructor(digest: Digest, attempts: BlobUnavailable['attempts']) {
    const tried = attempts.map(
      ({ location, error }) => `${location}: ${error instanceof Error ? error.message : error}`,
    );
    super(
      `no location can give ${digest} now (${tried.join('; ') || 'it is recorded in none that is configured here'})`,
    );
    const names = attempts.map(({ location }) => location).join(', ');
    this.summary = `no location can give ${digest} now (${names ? `tried: ${names}` : 'it is recorded in none'})`;
    this.attempts = attempts;
  }
}

/** A blob that is being read, and from where: a location, or the crossing to one. */
export interface Opened {
  readonly location: string;
  readonly bytes: AsyncIterable<Buffer>;
}

/** A part of it; `mayEnd`: what is missing at its end is to be had elsewhere, and nothing has failed. */
interface OpenedPart extends Opened {
  readonly mayEnd: boolean;
}

/** A read and what it has found out. */
interface Reading extends ReadRequest {
  readonly crossing: Crossing | undefined;
}

export interface ReadRequest {
  readonly locations: Locations;
  readonly digest: Digest;
  /** The blob's size as recorded; a location that says otherwise has a damaged copy, and is passed over. */
  readonly size: number;
  /** The names of the locations that hold it. */
  readonly holders: readonly string[];
  /** Asks again which ones do, when those cannot go on: while a long blob is read, it may have moved. */
  readonly holdersNow?: () => Promise<readonly string[]>;
  /** The part that is wanted; `offset + length` is within the size. */
  readonly range: { readonly offset: number; readonly length: number };
  readonly context: StoreContext;
  /** Where reads share the way from other regions; absent: each goes it alone. */
  readonly crossings?: Crossings | undefined;
  /** Hears of each location whose copy has another size than the blob. */
  readonly onDamaged?: (location: string) => void;
}

/** Once bytes have been handed out, a blob is looked for this often over all locations before the client is failed. */
const ROUNDS_WITHOUT_PROGRESS = 4;
const PAUSE_MS = 500;

/** Before the first byte, a client waits so long while no location answers: a node that restarts is back by then. */
const PATIENCE_MS = 3_000;
const LOOK_AGAIN_MS = 250;

/**
 * How long the only location that has a blob may be silent. Longer than where there is another one: over a crowded link,
 * bytes are late, and who asks again for them makes that worse. (A process that hangs is noticed by the keepalive.) Of many
 * stripes that are read side by side, the last ones asked for wait even longer there: as long as any of them comes.
 */
const ONLY_SOURCE_SILENCE_MS = 10_000;

/**
 * Opens the blob at the first location that answers. Throws BlobUnavailable, or the caller's own cancellation. The
 * bytes throw BlobUnavailable too, when no location can go on with them.
 */
export async function readBlob(request: ReadRequest): Promise<Opened> {
  const { offset, length } = request.range;
  const reading = { ...request, crossing: request.crossings?.for(request) };
  const first = await openPatiently(reading, offset, length);
  return { location: first.location, bytes: bytesOf(reading, first) };
}

async function* bytesOf(request: Reading, opened: OpenedPart): AsyncGenerator<Buffer> {
  let at = request.range.offset;
  const end = at + request.range.length;
  let source = opened;
  let failures = 0;
  while (true) {
    try {
      for await (const piece of source.bytes) {
        at += piece.length;
        failures = 0;
        yield piece;
      }
      if (at >= end) return;
      if (!source.mayEnd) throw fail.corrupt(request.digest, `the stream ended ${end - at} bytes early`);
    } catch (error) {
      if (request.context.signal?.aborted || ++failures > ROUNDS_WITHOUT_PROGRESS) throw error;
      // All bytes are here: how the call ends after them is nobody's concern.
      if (at >= end) return;
    }
    source = await reopen(request, at, end - at);
  }
}

/** Opens the blob as soon as a location answers; at once when all of them answer that they cannot give it. */
async function openPatiently(request: Reading, offset: number, length: number): Promise<OpenedPart> {
  const deadline = Date.now() + PATIENCE_MS;
  while (true) {
    try {
      return await open(request, offset, length);
    } catch (error) {
      if (!(error instanceof BlobUnavailable) || !error.attempts.some(attempt => isTransient(attempt.error)))
        throw error;
      if (Date.now() + LOOK_AGAIN_MS > deadline) throw error;
    }
    await sleep(LOOK_AGAIN_MS, undefined, { signal: request.context.signal });
  }
}

async function reopen(request: Reading, offset: number, length: number): Promise<OpenedPart> {
  let { holders } = request;
  for (let round = 1; ; round++) {
    try {
      return await open({ ...request, holders }, offset, length);
    } catch (error) {
      if (request.context.signal?.aborted || round === ROUNDS_WITHOUT_PROGRESS) throw error;
      await sleep(PAUSE_MS * round * (0.5 + Math.random()));
    }
    // While it cannot be asked, what was known before may still be true.
    const now = (await request.holdersNow?.().catch(() => [])) ?? [];
    holders = [...new Set([...holders, ...now])];
  }
}

async function open(request: Reading, offset: number, length: number): Promise<OpenedPart> {
  const { crossing } = request;
  const next: Next = (await crossing?.next(offset, length)) ?? { kind: 'stored', limit: length };
  if (next.kind === 'crossing') return { location: next.target, bytes: next.bytes, mayEnd: true };
  const { limit } = next;
  const attempts: { location: string; error: unknown }[] = [];
  const locations = request.locations.forReading([...(crossing?.holders ?? []), ...request.holders]);
  const isOnlySource = locations.filter(location => location.serves('read')).length < 2;
  const { striped = false } = request.context;
  const context = isOnlySource
    ? { ...request.context, silenceMs: ONLY_SOURCE_SILENCE_MS, bearsCrowd: striped }
    : request.context;
  for (const location of locations) {
    try {
      const bytes = await openAt(location, { ...request, context }, offset, limit);
      return { location: location.name, bytes, mayEnd: limit < length };
    } catch (error) {
      if (request.context.signal?.aborted) throw error;
      attempts.push({ location: location.name, error });
    }
  }
  throw new BlobUnavailable(request.digest, attempts);
}

async function openAt(
  location: Location,
  request: ReadRequest,
  offset: number,
  limit: number,
): Promise<AsyncIterable<Buffer>> {
  const giveUp = new AbortController();
  const signal = request.context.signal ? AbortSignal.any([request.context.signal, giveUp.signal]) : giveUp.signal;
  const body = await location.store.read(request.digest, { offset, limit }, { ...request.context, signal });
  if (body.size === request.size) return body.bytes;
  giveUp.abort();
  request.onDamaged?.(location.name);
  throw fail.corrupt(request.digest, `${location.name} has ${body.size} bytes of ${request.size}`);
}
