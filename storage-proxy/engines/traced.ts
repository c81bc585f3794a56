/**
 * An engine whose calls are spans: what a caller waited for in the store. What an engine does for itself (its canary, its
 * sweep) belongs to no trace.
 */
import type { Digest } from '../../lib/oci/digest.js';
import { type Attributes, beginChild, inSpan } from '../../lib/telemetry/span.js';
import {
  type BlobBody,
  type BlobEntry,
  type ByteRange,
  type Checkpoint,
  canSign,
  type Engine,
  type Probe,
  type Session,
  type SigningEngine,
  type StaleUpload,
  type UploadPlan,
} from './engine.js';

/** The same engine, traced; it can sign if the engine can. */
export function traced(engine: Engine, location: string): Engine {
  return canSign(engine) ? new TracedSigningEngine(engine, location) : new TracedEngine(engine, location);
}

class TracedEngine implements Engine {
  readonly driver: string;
  readonly capabilities: Engine['capabilities'];
  readonly #engine: Engine;
  readonly #location: string;

  constructor(engine: Engine, location: string) {
    this.driver = engine.driver;
    this.capabilities = engine.capabilities;
    this.#engine = engine;
    this.#location = location;
  }

  stat(digest: Digest, signal?: AbortSignal): Promise<number | undefined> {
    return this.spanOf('stat', { 'entrepot.digest': digest }, () => this.#engine.stat(digest, signal));
  }

  /** The span lasts as long as the bytes are read. A body that nobody reads holds nothing, and has none. */
  async read(digest: Digest, range: ByteRange, signal?: AbortSignal): Promise<BlobBody> {
    const span = beginChild(this.#name('read'), 'client', {
      ...this.#attributes(),
      'entrepot.digest': digest,
      'entrepot.offset': range.offset,
    });
    if (!span) return this.#engine.read(digest, range, signal);
    let body: BlobBody;
    try {
      body = await span.run(() => this.#engine.read(digest, range, signal));
    } catch (error) {
      span.threw(error);
      span.end();
      throw error;
    }
    const { size, bytes } = body;
    async function* counted(): AsyncGenerator<Buffer> {
      const iterator = bytes[Symbol.asyncIterator]();
      const next = () => iterator.next();
      let read = 0;
      let over = false;
      try {
        while (true) {
          const piece = await span?.run(next);
          if (!piece || piece.done) {
            over = true;
            return;
          }
          read += piece.value.length;
          yield piece.value;
        }
      } catch (error) {
        over = true;
        span?.threw(error);
        throw error;
      } finally {
        if (!over) span?.set({ 'entrepot.cancelled': true });
        span?.set({ 'entrepot.bytes': read });
        span?.end();
        await iterator.return?.();
      }
    }
    return { size, bytes: counted() };
  }

  remove(digest: Digest, signal?: AbortSignal): Promise<void> {
    return this.spanOf('remove', { 'entrepot.digest': digest }, () => this.#engine.remove(digest, signal));
  }

  list(after: Digest | undefined, signal?: AbortSignal): AsyncIterable<BlobEntry> {
    return this.#engine.list(after, signal);
  }

  begin(plan: UploadPlan, signal?: AbortSignal): Promise<Checkpoint> {
    const attributes = plan.digest === undefined ? {} : { 'entrepot.digest': plan.digest };
    return this.spanOf('begin', attributes, () => this.#engine.begin(plan, signal));
  }

  append(
    session: Session,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
    signal?: AbortSignal,
  ): Promise<Checkpoint> {
    return this.spanOf('append', {}, () => this.#engine.append(session, source, onCheckpoint, signal));
  }

  nameOf(session: Session): string {
    return this.#engine.nameOf(session);
  }

  commit(session: Session, digest: Digest, signal?: AbortSignal): Promise<number> {
    return this.spanOf('commit', { 'entrepot.digest': digest }, () => this.#engine.commit(session, digest, signal));
  }

  abort(session: Session, signal?: AbortSignal): Promise<void> {
    return this.spanOf('abort', {}, () => this.#engine.abort(session, signal));
  }

  staleUploads(before: number, signal?: AbortSignal): AsyncIterable<StaleUpload> {
    return this.#engine.staleUploads(before, signal);
  }

  probe(signal?: AbortSignal): Promise<Probe> {
    return this.#engine.probe(signal);
  }

  protected spanOf<T>(method: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
    return inSpan(this.#name(method), 'client', { ...this.#attributes(), ...attributes }, work);
  }

  /** `S3Storage read` */
  #name(method: string): string {
    return `${this.driver} ${method}`;
  }

  #attributes(): Attributes {
    return { 'entrepot.location': this.#location, 'entrepot.engine': this.driver };
  }
}

class TracedSigningEngine extends TracedEngine implements SigningEngine {
  readonly #engine: SigningEngine;

  constructor(engine: SigningEngine, location: string) {
    super(engine, location);
    this.#engine = engine;
  }

  sign(digest: Digest, ttlSeconds: number, signal?: AbortSignal): Promise<string> {
    const sign = () => this.#engine.sign(digest, ttlSeconds, signal);
    return this.spanOf('sign', { 'entrepot.digest': digest }, sign);
  }
}
