/** Chance that can be had again: the same text gives the same numbers. */
import { sha256 } from './oci-client.js';

export type Chance = () => number;

/** Numbers from 0 to 1 that follow from a text. */
export function chanceOf(seed: string): Chance {
  let count = 0;
  return () => Number.parseInt(sha256(Buffer.from(`${seed}#${count++}`)).slice(7, 19), 16) / 2 ** 48;
}

/** One of these. */
export function oneOf<T>(chance: Chance, things: readonly T[]): T {
  const thing = things[Math.floor(chance() * things.length)];
  if (thing === undefined) throw new Error('there is nothing to choose from');
  return thing;
}
