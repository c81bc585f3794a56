/** What requests are made of: words that are right, and ways to make them wrong. Texts are latin1. */
import fc from 'fast-check';

/** Characters that mean something to somebody on the way. */
const oddPieces = [
  ...['%00', '%2f', '%2F', '%3a', '%', '%zz', '%ff', '%c0%af', '%0d%0a', '..', '.', '/', '//', '\\', ' ', '\t', '+'],
  ...['"', "'", '<', '>', ';', ',', ':', '?', '#', '&', '=', '@', '$', '*', '{', '}', '|', '~', '\u00e9', '\u00ff'],
  ...['A', '0', '-', '_', '__', '\u0000', '\r', '\n', '\r\n', '\u007f', '9'.repeat(25), 'a'.repeat(300), 'é'],
];

type Edit = readonly [what: 'insert' | 'replace' | 'remove' | 'cut' | 'double', at: number, piece: string];

const edit: fc.Arbitrary<Edit> = fc.tuple(
  fc.constantFrom('insert', 'replace', 'remove', 'cut', 'double'),
  fc.nat(1_000),
  fc.oneof(fc.constantFrom(...oddPieces), latin1(3)),
);

export function latin1(maxLength: number): fc.Arbitrary<string> {
  return fc.uint8Array({ maxLength }).map(bytes => Buffer.from(bytes).toString('latin1'));
}

/** `words` with a few edits. */
export function mutated(words: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(words, fc.array(edit, { minLength: 1, maxLength: 3 }))
    .map(([word, edits]) => edits.reduce(apply, word));
}

function apply(text: string, [what, thousandths, piece]: Edit): string {
  const at = Math.floor((thousandths / 1_000) * text.length);
  switch (what) {
    case 'insert':
      return text.slice(0, at) + piece + text.slice(at);
    case 'replace':
      return text.slice(0, at) + piece + text.slice(at + 1);
    case 'remove':
      return text.slice(0, at) + text.slice(at + 1);
    case 'cut':
      return text.slice(0, at);
    default:
      return text + text.slice(at);
  }
}

/** `arbitrary` once in so many times, else nothing. */
export function seldom<T>(times: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: times - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

/** Mostly one of `words`; else one of them mutated, or anything. */
export function mostly(...words: readonly string[]): fc.Arbitrary<string> {
  const right = fc.constantFrom(...words);
  return fc.oneof(
    { weight: 12, arbitrary: right },
    { weight: 3, arbitrary: mutated(right) },
    { weight: 1, arbitrary: latin1(40) },
  );
}

/** As it may stand in a request line: what would end it is encoded. */
export function inTarget(text: string): string {
  return [...text].map(each => (each <= ' ' || each === '#' ? encodeURIComponent(each) : each)).join('');
}

/** As it may stand in a header: what would end it is left out. */
export function inHeader(text: string): string {
  return [...text].filter(each => !['\0', '\r', '\n'].includes(each)).join('');
}
