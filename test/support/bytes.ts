/** Bytes, and sources of bytes. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes that differ at every place and for every seed: a shifted or mixed copy never looks the same. */
export function pattern(length: number, seed: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b);
  return Buffer.from(words.buffer, 0, length);
}

export async function* pieces(data: Buffer, pieceBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += pieceBytes) yield data.subarray(at, at + pieceBytes);
}

/** The source, and then a failure. */
export async function* failing(source: AsyncIterable<Buffer>, error: Error): AsyncGenerator<Buffer> {
  yield* source;
  throw error;
}

/** The source, and then silence. */
export async function* endless(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* source;
  await new Promise<never>(() => {});
}

/** Sources whose pieces are given out by turns, one of the first, one of the second, and so on. */
export function turns(sources: AsyncIterable<Buffer>[]): AsyncIterable<Buffer>[] {
  let turn = 0;
  const left = new Set(sources.keys());
  const passOn = () => {
    do turn = (turn + 1) % sources.length;
    while (left.size > 0 && !left.has(turn));
  };
  return sources.map((source, index) =>
    (async function* () {
      const giveUpAt = Date.now() + 5_000;
      try {
        for await (const piece of source) {
          // A rival that has failed asks for no more pieces, and does not hold us up for ever.
          while (turn !== index && Date.now() < giveUpAt) await sleep(1);
          yield piece;
          if (turn === index) passOn();
        }
      } finally {
        left.delete(index);
        if (turn === index) passOn();
      }
    })(),
  );
}

export async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of source) all.push(piece);
  return Buffer.concat(all);
}
