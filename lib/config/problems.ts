/**
 * Mistakes in the configuration.
 *
 * All of them are collected and reported at once: an operator mends a file once, not once per start.
 * A message says what is wrong and how to mend it, and never contains the value of a secret.
 */

/** One mistake. */
export interface Problem {
  /** The key that is wrong (with a path into it, as `ENTREPOT_LOCATIONS.usstorage.nodes[0]`), an environment variable, or the file. */
  readonly key: string;
  /** What is wrong and how to mend it. */
  readonly message: string;
}

/** The configuration cannot be used. `message` lists every mistake, one a line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'CONFIG_INVALID';
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    const count = problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`;
    super([`${file}: ${count} in the configuration`, ...problems.map(formatProblem)].join('\n'));
    this.file = file;
    this.problems = problems;
  }
}

/** One line of text for one mistake. */
export function formatProblem(problem: Problem): string {
  return `  ${problem.key}: ${problem.message}`;
}

/** Collects mistakes while the configuration is read. */
export class Problems {
  readonly #list: Problem[] = [];

  add(key: string, message: string): void {
    this.#list.push({ key, message });
  }

  /** Throws a ConfigError if there is any mistake. */
  throwIfAny(file: string): void {
    if (this.#list.length > 0) throw new ConfigError(file, [...this.#list]);
  }
}
