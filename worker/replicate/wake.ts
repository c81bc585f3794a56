/** A bell for one sleeper: rung while nobody sleeps, it wakes the next one at once. */
export class Wake {
  #rung = false;
  #ring: () => void = () => {};

  now(): void {
    this.#rung = true;
    this.#ring();
  }

  /** Resolves when the bell rings, or after `ms`. */
  async within(ms: number): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, ms);
        this.#ring = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#rung = false;
    this.#ring = () => {};
  }
}
