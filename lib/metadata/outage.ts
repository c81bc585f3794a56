/**
 * What a reader may still be told while PostgreSQL cannot be reached: a positive answer of the last five minutes.
 * While it can be reached it is always asked, so tags, permissions and deletes are right at once everywhere.
 */
import { LRUCache } from 'lru-cache';
import { DatabaseUnavailable } from './database.js';

const REMEMBER_MS = 5 * 60_000;
const MOST_ANSWERS = 10_000;

export class OutageMemory<Answer extends object> {
  readonly #answers = new LRUCache<string, Answer>({ max: MOST_ANSWERS, ttl: REMEMBER_MS });

  /**
   * Asks, and answers from memory when the database is unavailable. `worth` makes of an answer what is to be remembered
   * of it; nothing, if it is not a positive one. It must be small: thousands of them are kept.
   */
  async bridge(
    key: string,
    ask: () => Promise<Answer>,
    worth: (answer: Answer) => Answer | undefined,
  ): Promise<Answer> {
    try {
      const answer = await ask();
      const memory = worth(answer);
      if (memory) this.#answers.set(key, memory);
      else this.#answers.delete(key);
      return answer;
    } catch (error) {
      const remembered = error instanceof DatabaseUnavailable ? this.#answers.get(key) : undefined;
      if (!remembered) throw error;
      return remembered;
    }
  }
}
