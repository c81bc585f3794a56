/** Notices when one of some locations can be used again, or no longer. */
import type { Location } from '../../lib/locations/location.js';

/** It costs nothing: every node's health is followed anyway. */
const LOOK_EVERY_MS = 250;

export class HealthWatch {
  readonly #timer: NodeJS.Timeout;

  constructor(locations: readonly Location[], onChange: () => void) {
    const look = () => locations.map(each => `${each.serves('read')} ${each.serves('write')}`).join();
    let seen = look();
    this.#timer = setInterval(() => {
      const now = look();
      if (now !== seen) onChange();
      seen = now;
    }, LOOK_EVERY_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
