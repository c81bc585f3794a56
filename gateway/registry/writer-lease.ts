/**
 * One request's right to write to an upload.
 *
 * While it lasts, the newest checkpoint is recorded every few seconds: that renews the lease, also while the client
 * sends nothing, and lets any gateway go on from there if this one dies. A writer that lost its lease stops.
 */
import type { Checkpoint } from '../../lib/locations/store.js';
import { type Advance, type Upload, type Uploads, WRITER_LEASE_MS } from '../../lib/metadata/uploads.js';
import { type OciError, oci } from '../http/errors.js';

const RENEW_MS = WRITER_LEASE_MS / 3;

export class WriterLease {
  readonly writer: string;
  readonly #uploads: Uploads;
  readonly #upload: Upload;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #newest: Checkpoint;
  #renewed = Date.now();

  /** `upload` was claimed for `writer` just now. End the lease with `release` or `end`. */
  constructor(uploads: Uploads, upload: Upload, writer: string) {
    this.#uploads = uploads;
    this.#upload = upload;
    this.writer = writer;
    this.#newest = { offset: upload.byteCount, session: upload.session };
    this.#timer = setInterval(() => void this.#renew(), RENEW_MS);
  }

  /** Aborts, with the error to be answered, when the lease is lost. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** The newest checkpoint that was noted. */
  get newest(): Checkpoint {
    return this.#newest;
  }

  /** Takes note of a checkpoint; it is recorded at the next renewal, or at the end. */
  note(checkpoint: Checkpoint): void {
    this.#newest = checkpoint;
  }

  /** Records a last checkpoint, and lets others write. Throws if its bytes do not count. */
  async release(checkpoint: Checkpoint): Promise<void> {
    this.end();
    const { offset: byteCount, session } = checkpoint;
    const advance = await this.#uploads.release(this.#upload.uuid, this.writer, { byteCount, session });
    if (advance !== 'held') throw errorOf(advance);
  }

  /** Ends the renewals. */
  end(): void {
    clearInterval(this.#timer);
  }

  async #renew(): Promise<void> {
    const { offset: byteCount, session } = this.#newest;
    const started = Date.now();
    if (started - this.#renewed >= WRITER_LEASE_MS) {
      this.#lose(oci.unavailable('the registry cannot reach its database now'));
      return;
    }
    try {
      const advance = await this.#uploads.checkpoint(this.#upload.uuid, this.writer, { byteCount, session });
      if (advance === 'held') this.#renewed = started;
      else this.#lose(errorOf(advance));
    } catch {
      // Tried again at the next turn, until the lease is over.
    }
  }

  #lose(error: Error): void {
    this.end();
    this.#lost.abort(error);
  }
}

function errorOf(advance: Exclude<Advance, 'held'>): OciError {
  return advance === 'lost' ? oci.uploadTakenOver() : oci.uploadMisplaced();
}
