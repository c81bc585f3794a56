/** Takes one setting after the other out of what was given, and notes every mistake. */
import type { Problems } from './problems.js';
import { type Absent, KEYS, type Key, type Value } from './schema/schema.js';
import type { Setting, Settings } from './source.js';

export class Reader {
  readonly problems: Problems;
  readonly #settings: Settings;

  constructor(settings: Settings, problems: Problems) {
    this.#settings = settings;
    this.problems = problems;
  }

  /** What was given for `key`, not validated. */
  raw(key: Key): Setting | undefined {
    return this.#settings.get(key);
  }

  /**
   * The value of `key`. If it was not given or is wrong (which is noted, so that the reading can go on): `absent`, or what
   * the schema says.
   */
  take<K extends Key>(key: K): Value<K> | Absent<K>;
  take<K extends Key, A>(key: K, absent: A): Value<K> | A;
  take(key: Key, ...given: readonly unknown[]): unknown {
    const schema = KEYS[key];
    const absent = given.length > 0 ? given[0] : schema.absent;
    const setting = this.raw(key);
    if (!setting) return absent;
    const result = schema.value.safeParse(setting.value);
    if (result.success) return result.data;
    for (const issue of result.error.issues) this.mistake(key, issue.message, issue.path);
    return absent;
  }

  /** Notes a mistake in the value of `key`, or at a place inside of it. */
  mistake(key: Key, message: string, path: readonly PropertyKey[] = []): void {
    const where = this.raw(key)?.from === 'environment' ? ' (given in the environment)' : '';
    this.problems.add(
      key + path.map(step => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join(''),
      message + where,
    );
  }
}
