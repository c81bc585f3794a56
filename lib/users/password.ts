/**
 * Passwords, as argon2id hashes. They are made and checked on libuv's threads, not on ours; whoever checks many bounds
 * how many at a time, since each takes 20 MB for some 30 ms.
 */
import { hash, parseOptions, verify } from '@node-rs/argon2';

/** A hash that takes more is a slip, or would hold up every sign-in. In KiB, and in passes. */
const MOST = { memory: 256 * 1024, passes: 16, threads: 16 };

/** The hash of a password, with a new salt: `$argon2id$v=19$m=19456,t=2,p=1$…`. */
export function hashPassword(password: string): Promise<string> {
  return hash(password);
}

/** Whether it is the password of the hash, which was checked before. */
export function verifyPassword(passwordHash: string, password: string): Promise<boolean> {
  return verify(passwordHash, password);
}

/** What is wrong with a text that should be a hash; undefined if nothing is. Says nothing of the text itself. */
export function mistakeInHash(text: string): string | undefined {
  const form = "must be a hash that begins with $argon2id$; make one with 'entrepot users hash'";
  if (!text.startsWith('$argon2id$')) return form;
  try {
    const { memoryCost, timeCost, parallelism } = parseOptions(text);
    if (memoryCost <= MOST.memory && timeCost <= MOST.passes && parallelism <= MOST.threads) return undefined;
  } catch {
    return form;
  }
  return `asks for too much: at most m=${MOST.memory}, t=${MOST.passes}, p=${MOST.threads}`;
}
