/** Ends uploads that nobody goes on with: their rows, and what they hold at their location. */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import type { Uploads } from '../../lib/metadata/uploads.js';

const EVERY_MS = 10 * 60_000;
const STALE_HOURS = 24;
const AT_ONCE = 100;

export class UploadExpiry {
  readonly #uploads: Uploads;
  readonly #locations: Locations;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> = Promise.resolve();

  constructor(uploads: Uploads, locations: Locations, log: Logger) {
    this.#uploads = uploads;
    this.#locations = locations;
    this.#log = log;
    this.#timer = setInterval(
      () => {
        this.#running = this.#expire();
      },
      EVERY_MS * (0.75 + Math.random() / 2),
    );
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #expire(): Promise<void> {
    try {
      const stale = await this.#uploads.removeStale(STALE_HOURS, AT_ONCE);
      for (const { uuid, location, session } of stale) {
        // What cannot be freed now, the location's own sweep finds a day later.
        await this.#locations
          .get(location)
          ?.store.abort(session)
          .catch(error => {
            this.#log.warn(
              { err: error, upload: uuid, location },
              'the bytes of an expired upload could not be freed yet',
            );
          });
      }
      if (stale.length > 0)
        this.#log.info({ count: stale.length }, `ended uploads that were idle for ${STALE_HOURS} hours`);
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot look for expired uploads');
    }
  }
}
