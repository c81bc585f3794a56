/** Chance that can be had again: the same text gives the same numbers. */
import { sha256 } from './oci-client.js';

/** Numbers from 0 to 1 that follow from a text. */
export function chanceOf(seed: string): () => number {
  let count = 0;
  return () => Number.parseInt(sha256(Buffer.from(`${seed}#${count++}`)).slice(7, 19), 16) / 2 ** 48;
}
