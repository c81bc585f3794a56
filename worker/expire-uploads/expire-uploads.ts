/** Ends uploads that nobody goes on with: their rows, and what they hold at their location. */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { Upload, Uploads } from '../../lib/metadata/uploads.js';

const EVERY_MS = 10 * 60_000;
const AT_ONCE = 100;

export class UploadExpiry {
  readonly #uploads: Uploads;
  readonly #locations: Locations;
  readonly #minutes: number;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> = Promise.resolve();
  #closed = false;

  /** `minutes`: how long an upload may be idle. */
  constructor(uploads: Uploads, locations: Locations, minutes: number, log: Logger) {
    this.#uploads = uploads;
    this.#minutes = minutes;
    this.#locations = locations;
    this.#log = log;
    const begin = () => {
      this.#running = this.#running.then(() => this.#expire());
    };
    this.#timer = setInterval(begin, EVERY_MS * (0.75 + Math.random() / 2));
    begin();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closed = true;
    await this.#running;
  }

  async #expire(): Promise<void> {
    try {
      let count = 0;
      while (!this.#closed) {
        const stale = await this.#uploads.removeStale(this.#minutes, AT_ONCE);
        for (const upload of stale) await this.#free(upload);
        count += stale.length;
        if (stale.length < AT_ONCE) break;
      }
      if (count > 0) this.#log.info({ count }, `ended uploads that were idle for ${this.#minutes} minutes`);
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot look for expired uploads');
    }
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
