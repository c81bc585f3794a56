/**
 * The users file of a running process. It is read again when it changes, however that is done: written over, replaced, or
 * reached by a symbolic link that now leads elsewhere, as Kubernetes does it. So it is looked at, not listened to.
 * While what stands there has mistakes, the last that had none is used, and the log says so.
 */
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Users } from './users.js';
import { parseUsersFile, type UsersFileOptions } from './users-file.js';

/** How often to look. A change is read when nothing has changed for so long: it may be half-written. */
const LOOK_EVERY_MS = 1_000;

export interface WatchedUsersOptions extends UsersFileOptions {
  readonly file: string;
  readonly log: Logger;
  /** For tests. */
  readonly lookEveryMs?: number;
}

export class WatchedUsers {
  #users: Users;
  readonly #options: WatchedUsersOptions;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  private constructor(options: WatchedUsersOptions, users: Users, seen: string) {
    this.#options = options;
    this.#users = users;
    this.#watching = this.#watch(seen);
  }

  /** Reads the file. Throws if it cannot be used: a process should not start with nobody by mistake. */
  static async open(options: WatchedUsersOptions): Promise<WatchedUsers> {
    const { file, log } = options;
    const seen = await stateOf(file);
    const result = parseUsersFile(await readText(file), options);
    if ('mistakes' in result) {
      throw new Error([`the users file ${file} cannot be used`, ...result.mistakes].join('\n  '));
    }
    for (const notice of result.notices) log.warn(notice);
    return new WatchedUsers(options, result.users, seen);
  }

  /** The users, as the file has them now. */
  get current(): Users {
    return this.#users;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }

  async #watch(first: string): Promise<void> {
    const { file, lookEveryMs = LOOK_EVERY_MS } = this.#options;
    const { signal } = this.#stop;
    let [read, before] = [first, first];
    while (true) {
      await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      const now = await stateOf(file);
      if (now !== read && now === before) {
        read = now;
        await this.#read();
      }
      before = now;
    }
  }

  async #read(): Promise<void> {
    const { file, log } = this.#options;
    try {
      const result = parseUsersFile(await readText(file), this.#options);
      if ('mistakes' in result) {
        log.error(
          { file, mistakes: result.mistakes },
          'the users file has mistakes: the last one without is still used',
        );
        return;
      }
      for (const notice of result.notices) log.warn(notice);
      this.#users = result.users;
      log.info({ file, users: result.users.all.length }, 'the users file has changed, and is used');
    } catch (error) {
      log.error({ err: error, file }, 'the users file cannot be read: what it was before is still used');
    }
  }
}

/** Something that changes with the file. */
async function stateOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : 'unknown error';
    throw new Error(`the users file ${file} cannot be read (${code}): see ENTREPOT_USERS_FILE`, { cause: error });
  }
}
