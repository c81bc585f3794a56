/** Manifests that are almost right. */
import fc from 'fast-check';

/** Values that a manifest's author might put where another one belongs; texts of JSON. */
const oddValues = [
  ...['null', 'true', '-1', '0', '1.5', '1e400', '9007199254740993', '""', '" "', '[]', '{}', '[[]]', '[null]', '[{}]'],
  ...['"\\u0000"', '"\\ud800"', '"sha256:"', '"../.."', '{"__proto__":{"a":"b"}}', '{"":""}', '{"a":null}', '{"a":1}'],
  ...[
    '"application/vnd.oci.image.index.v1+json"',
    `"${'x'.repeat(5_000)}"`,
    `${'['.repeat(3_000)}${']'.repeat(3_000)}`,
  ],
  ...['{"constructor":"a","toString":"b"}', '"a/b"', '"text/plain; charset=utf-8"', '"a/b/c"', '{"a":"b","a":"c"}'],
];

/** One change: at the n-th value (counted through the tree, with wrap-around). */
export interface JsonEdit {
  readonly what: 'replace' | 'remove' | 'repeat' | 'wrap';
  readonly at: number;
  readonly value: string;
}

export const jsonEdit: fc.Arbitrary<JsonEdit> = fc.record({
  what: fc.constantFrom('replace', 'remove', 'repeat', 'wrap'),
  at: fc.nat(60),
  value: fc.constantFrom(...oddValues),
});

/** A mark that becomes a text of JSON afterwards: some values cannot be made from values of JavaScript. */
const mark = (index: number) => `@odd-${index}@`;

/** Writes `value` as JSON, with changes. */
export function editedJson(value: unknown, edits: readonly JsonEdit[]): Buffer {
  let tree: unknown = structuredClone(value);
  edits.forEach((edit, index) => {
    tree = editTree(tree, edit, mark(index));
  });
  let text = JSON.stringify(tree) ?? '';
  edits.forEach((edit, index) => {
    text = text.replaceAll(JSON.stringify(mark(index)), () => edit.value);
  });
  return Buffer.from(text);
}

function editTree(tree: unknown, edit: JsonEdit, odd: string): unknown {
  const spots: { holder: Record<string, unknown> | unknown[]; key: string }[] = [];
  const visit = (node: unknown) => {
    if (typeof node !== 'object' || node === null) return;
    for (const key of Object.keys(node)) {
      spots.push({ holder: node as Record<string, unknown>, key });
      visit((node as Record<string, unknown>)[key]);
    }
  };
  visit(tree);
  const spot = spots[edit.at % Math.max(1, spots.length)];
  if (!spot) return odd;
  const holder = spot.holder as Record<string, unknown>;
  const old = holder[spot.key];
  if (edit.what === 'remove') delete holder[spot.key];
  // Each a copy: a later change is to one of them, or they would multiply.
  else if (edit.what === 'repeat')
    holder[spot.key] = Array.from({ length: isSmall(old) ? 300 : 2 }, () => structuredClone(old));
  else if (edit.what === 'wrap') holder[spot.key] = [old];
  else holder[spot.key] = odd;
  return tree;
}

/** Whether three hundred of it still make a manifest of a sensible size. */
function isSmall(value: unknown): boolean {
  return (JSON.stringify(value) ?? '').length < 500;
}
