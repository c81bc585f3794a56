/** Who may sign in, and what each may do. */
import { createHash } from 'node:crypto';
import type { Rights } from './rights.js';

export interface User {
  /** `alice`, or `team+deploy` for a robot of a namespace. */
  readonly name: string;
  readonly passwordHash: string;
  readonly rights: Rights;
}

export class Users {
  readonly #byName: ReadonlyMap<string, User>;
  readonly all: readonly User[];

  constructor(users: readonly User[]) {
    this.all = users;
    this.#byName = new Map(users.map(user => [user.name, user]));
  }

  find(name: string): User | undefined {
    return this.#byName.get(name);
  }

  /**
   * Whose hash the password of an unknown name is checked against, so that the time it takes does not tell that it is
   * unknown. Always the same for a name: hashes may differ in what they cost, as those of known names do.
   */
  decoy(name: string): User | undefined {
    if (this.all.length === 0) return undefined;
    const number = createHash('sha256').update(name).digest().readUInt32BE(0);
    return this.all[number % this.all.length];
  }
}
