/** Makes the copies that were claimed, and has what became of them recorded. */
import pLimit from 'p-limit';
import type { Locations } from '../../lib/locations/locations.js';
import type { Replication } from '../../lib/metadata/replication.js';
import type { Digest } from '../../lib/oci/digest.js';
import type { Span } from '../../lib/telemetry/span.js';
import type { Crossings } from '../crossing/crossings.js';
import { copyBatch, type Outcome } from './batch.js';
import { BatchSpans, beginCopy } from './copy-spans.js';
import { copyLarge, findDamaged, isOnlyInTarget } from './large.js';
import type { HeldJob } from './leases.js';
import type { Outcomes } from './outcomes.js';
import type { Throttle } from './throttle.js';

/** Small blobs of a batch that are hashed where they are at the same time. */
const LOOKED_AT_AT_ONCE = 8;

/**
 * A small blob is tried in a batch so often. A batch has one deadline for all of it, which a very slow link does not meet,
 * however often it is tried; a blob by itself goes on as long as anything comes. Not many of them at a time: each slot has
 * as many, and together they must not be too slow again.
 */
const TRIES_IN_BATCH = 3;
const SINGLE_AT_ONCE = 2;

export interface CopiesOptions {
  readonly locations: Locations;
  readonly replication: Replication;
  readonly outcomes: Outcomes;
  readonly crossings: Crossings;
  /** What may be written to a location. */
  readonly throttleOf: (target: string) => Throttle;
  /** Aborts when the worker ends. */
  readonly ending: AbortSignal;
}

export class Copies {
  readonly #options: CopiesOptions;

  constructor(options: CopiesOptions) {
    this.#options = options;
  }

  /** Copies small blobs to one target. Rejects only if the outcome could not be recorded. */
  async batch(jobs: readonly HeldJob[]): Promise<void> {
    // What stands in the target alone, unverified, cannot be copied: it is looked at where it is.
    const standing = jobs.filter(isOnlyInTarget);
    const single = jobs.filter(job => job.attempts > TRIES_IN_BATCH && !standing.includes(job));
    const others = jobs.filter(job => !standing.includes(job) && !single.includes(job));
    if (others.length > 0) await this.#batch(others);
    if (standing.length > 0) await this.#standing(standing);
    const limit = pLimit(SINGLE_AT_ONCE);
    await Promise.all(single.map(job => limit(() => this.one(job))));
  }

  /** Looks at many where they are: some at a time, and what became of all is recorded together. */
  async #standing(jobs: readonly HeldJob[]): Promise<void> {
    const limit = pLimit(LOOKED_AT_AT_ONCE);
    const look = async (job: HeldJob) => {
      const span = beginCopy(job);
      try {
        return await span.run(() => this.#copy(job, span));
      } finally {
        span.end();
      }
    };
    await this.#options.outcomes.record(await Promise.all(jobs.map(job => limit(() => look(job)))));
  }

  async #batch(jobs: readonly HeldJob[]): Promise<void> {
    const { crossings, outcomes } = this.#options;
    const onTheWay = new Map(jobs.map(job => [job.digest, crossings.begin(job)]));
    const spans = new BatchSpans(jobs);
    const publish = (digest: Digest, bytes: Buffer) => onTheWay.get(digest)?.publishWhole(bytes);
    const results = await spans.run(() => this.#copyBatch(jobs, publish));
    spans.end(results);
    for (const { job, error } of results) {
      const crossing = onTheWay.get(job.digest);
      if (crossing) crossings.settle(job, crossing, { kind: error === undefined ? 'stored' : 'failed' });
    }
    await outcomes.record(results);
  }

  async #copyBatch(jobs: readonly HeldJob[], publish: (digest: Digest, bytes: Buffer) => void): Promise<Outcome[]> {
    const { locations, throttleOf, ending } = this.#options;
    const target = locations.get(jobs[0]?.target ?? '');
    if (!target) return jobs.map(job => ({ job, error: notConfigured(job), damaged: [] }));
    try {
      const bytes = jobs.reduce((sum, job) => sum + job.size, 0);
      await throttleOf(target.name).take(bytes, ending);
    } catch (error) {
      return jobs.map(job => ({ job, error, damaged: [] }));
    }
    return copyBatch(locations, target, jobs, ending, publish);
  }

  /** Copies one blob, of any size, with checkpoints on the way. Rejects only if the outcome could not be recorded. */
  async one(job: HeldJob): Promise<void> {
    const span = beginCopy(job);
    try {
      await span.run(async () => this.#options.outcomes.record([await this.#copy(job, span)]));
    } finally {
      span.end();
    }
  }

  async #copy(job: HeldJob, span: Span): Promise<Outcome> {
    const { crossings, locations, replication, throttleOf } = this.#options;
    const target = locations.get(job.target);
    if (!target) return { job, error: notConfigured(job), damaged: [] };
    const throttle = throttleOf(target.name);
    const crossing = crossings.begin(job);
    const copy = { locations, replication, target, job, throttle, crossing, suspects: new Set<string>(), readBytes: 0 };
    const error = await copyLarge(copy).then(
      () => undefined,
      failure => failure,
    );
    if (error !== undefined) span.threw(error);
    crossings.settle(job, crossing, { kind: error === undefined ? 'stored' : 'failed' });
    return { job, error, damaged: await findDamaged(copy, error), readBytes: copy.readBytes };
  }
}

function notConfigured({ target }: HeldJob): Error {
  return new Error(`${target} is not in this worker's DISTRIBUTED_STORAGE_CONFIG`);
}
