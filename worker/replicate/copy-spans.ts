/**
 * The spans of copies. Each blob's copy belongs to the trace of the push that caused it, below the request that ended the
 * push of the blob, however much later it is made and whichever worker makes it. A copy that no push caused, such as a
 * backfill's, begins a trace of its own.
 */
import { beginChild, beginRoot, type Span } from '../../lib/telemetry/span.js';
import type { HeldJob } from './leases.js';

type Copied = Pick<HeldJob, 'digest' | 'size' | 'target' | 'sources' | 'attempts' | 'cause'>;

/** Begins the span of one copy. */
export function beginCopy({ digest, size, target, sources, attempts, cause }: Copied): Span {
  return beginRoot({
    name: 'copy blob',
    kind: 'consumer',
    parent: cause,
    attributes: {
      'entrepot.digest': digest,
      'entrepot.size': size,
      'entrepot.target': target,
      'entrepot.sources': [...sources],
      'entrepot.attempts': attempts,
    },
  });
}

/**
 * The spans of a batch: one for each blob whose copy is recorded, and one for the batch, in which its calls stand. That
 * one is below the first blob's; it and the others' refer to each other.
 */
export class BatchSpans {
  readonly #copies = new Map<HeldJob, Span>();
  readonly #batch: Span | undefined;

  constructor(jobs: readonly HeldJob[]) {
    for (const job of jobs) {
      const span = beginCopy(job);
      if (span.isRecorded) this.#copies.set(job, span);
    }
    const [first, ...others] = this.#copies.values();
    this.#batch = first?.run(() => beginChild('copy batch', 'internal', { 'entrepot.blobs': jobs.length }));
    for (const other of others) {
      if (!this.#batch) break;
      this.#batch.link(other);
      other.link(this.#batch);
    }
  }

  run<T>(work: () => T): T {
    return this.#batch ? this.#batch.run(work) : work();
  }

  /** Ends all of them. */
  end(results: readonly { readonly job: HeldJob; readonly error: unknown }[]): void {
    this.#batch?.end();
    for (const { job, error } of results) if (error !== undefined) this.#copies.get(job)?.threw(error);
    for (const span of this.#copies.values()) span.end();
  }
}
