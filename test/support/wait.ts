/** Waiting: for what shows itself only when one looks, and for what settles. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Looks every 50 ms until `condition` holds; false if it does not within `withinMs`. */
export async function until(condition: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (Date.now() < deadline) {
    if (await condition()) return true;
    await sleep(50);
  }
  return condition();
}

/** Repeats an assertion until it holds; after `withinMs` its failure is thrown, with what was found. */
export async function soon(what: string, assertion: () => Promise<void>, withinMs = 10_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (true) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`${what}: ${saidBy(error)}`, { cause: error });
    }
    await sleep(10);
  }
}

/** An error's message, and of an assertion also how the values differ. */
function saidBy(error: unknown): string {
  const { message, details } = error as { message?: string; details?: unknown };
  return typeof details === 'string' ? `${message} ${details}` : String(message);
}

/** Asserts that something settles soon. */
export async function finished<T>(work: Promise<T>, withinMs = 10_000): Promise<T> {
  const stop = new AbortController();
  const late = sleep(withinMs, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`it did not settle within ${withinMs} ms`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    stop.abort();
    late.catch(() => {});
  }
}

/** Whether a process lives; one that has ended and only waits to be noticed (a zombie) does not. */
export function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return process.platform !== 'linux';
  }
}
