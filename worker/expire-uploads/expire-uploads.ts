/** Ends uploads that nobody goes on with: their rows, and what they hold at their location. */
import type { Locations } from '../../lib/locations/locations.js';
import type { Upload, Uploads } from '../../lib/metadata/uploads.js';
import type { Logger } from '../../lib/telemetry/log.js';
import { Tidying } from '../tidying.js';

const EVERY_MS = 10 * 60_000;
const AT_ONCE = 100;

export class UploadExpiry {
  readonly #uploads: Uploads;
  readonly #locations: Locations;
  readonly #minutes: number;
  readonly #log: Logger;
  readonly #tidying: Tidying;

  /** `minutes`: how long an upload may be idle. */
  constructor(uploads: Uploads, locations: Locations, minutes: number, log: Logger) {
    this.#uploads = uploads;
    this.#minutes = minutes;
    this.#locations = locations;
    this.#log = log;
    const work = (signal: AbortSignal) => this.#expire(signal);
    this.#tidying = new Tidying({ everyMs: EVERY_MS, work, failure: 'cannot look for expired uploads', log });
  }

  close(): Promise<void> {
    return this.#tidying.close();
  }

  async #expire(signal: AbortSignal): Promise<void> {
    let count = 0;
    while (!signal.aborted) {
      const stale = await this.#uploads.removeStale(this.#minutes, AT_ONCE);
      for (const upload of stale) await this.#free(upload);
      count += stale.length;
      if (stale.length < AT_ONCE) break;
    }
    if (count > 0) this.#log.info({ count }, `ended uploads that were idle for ${this.#minutes} minutes`);
  }

  /** What cannot be freed now, the location's own sweep finds a day later. */
  async #free({ uuid, location, session }: Upload): Promise<void> {
    try {
      await this.#locations.get(location)?.store.abort(session);
    } catch (error) {
      this.#log.warn({ err: error, upload: uuid, location }, 'the bytes of an expired upload could not be freed yet');
    }
  }
}
