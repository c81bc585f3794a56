/** Sequences of requests that belong together, each of which may go wrong in one way; as data, to be printed and run. */
import fc from 'fast-check';
import { type JsonEdit, jsonEdit } from './json.js';
import { inHeader, mutated, seldom } from './words.js';

/** How a step departs from what a client should do. */
export interface Twist {
  /** Sent to both gateways at the same time. */
  readonly twice: boolean;
  /** The client goes away after so many bytes of the body. */
  readonly leaveAfter: number | undefined;
  /** What is added to the target. */
  readonly suffix: string;
  /** A header more. */
  readonly header: readonly [string, string] | undefined;
}

export type Step = {
  readonly region: number;
  readonly twist: Twist | undefined;
} & (
  | { readonly do: 'begin'; readonly query: string }
  | { readonly do: 'chunk'; readonly size: number; readonly range: 'right' | 'none' | 'ahead' | 'behind' | 'short' }
  | { readonly do: 'status' }
  | { readonly do: 'cancel' }
  | { readonly do: 'pull' }
  | { readonly do: 'list' }
  | { readonly do: 'close'; readonly size: number; readonly digest: 'right' | 'wrong' | 'malformed' | 'sha512' }
  | { readonly do: 'whole'; readonly size: number; readonly digest: 'right' | 'wrong' | 'malformed' | 'sha512' }
  | { readonly do: 'mount'; readonly from: 'fixture' | 'none' | 'odd' }
  | {
      readonly do: 'manifest';
      readonly by: 'tag' | 'digest' | 'sha512' | 'tags' | 'wrong';
      readonly kind: 'image' | 'index' | 'artifact';
      readonly edits: readonly JsonEdit[];
    }
  | { readonly do: 'delete'; readonly what: 'tag' | 'manifest' | 'blob' }
);

const size = fc.oneof(fc.constantFrom(0, 1, 1_024, 200_000), fc.nat(5_000));
const digest = weighted('right', 6, 'wrong', 'malformed', 'sha512');

/** The first of these, so many times as often as each other one. */
function weighted<T>(first: T, weight: number, ...others: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: fc.constant(first) }, ...others.map(value => fc.constant(value)));
}

const twist: fc.Arbitrary<Twist> = fc.record({
  twice: weighted(false, 1, true),
  leaveAfter: seldom(2, fc.nat(3_000)),
  suffix: weighted('', 4, '/', '&', '&digest=x', '?', '&n=0', '%20', '&tag='),
  header: seldom(
    3,
    fc.tuple(
      fc.constantFrom('Content-Range', 'Content-Type', 'Range', 'Expect', 'If-Range', 'Content-Encoding'),
      mutated(fc.constantFrom('0-99', 'bytes=0-5', '100-continue', 'application/json')).map(inHeader),
    ),
  ),
});

const common = { region: fc.nat(1), twist: seldom(5, twist) };

function step<T extends object>(what: { [K in keyof T]: fc.Arbitrary<T[K]> }) {
  return fc.record({ ...common, ...what }) as fc.Arbitrary<T & Pick<Step, 'region' | 'twist'>>;
}
const is = <T extends string>(name: T) => fc.constant(name);

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: step({ do: is('begin'), query: weighted('', 4, '?digest-algorithm=sha512', '?mount=x') }) },
  {
    weight: 6,
    arbitrary: step({ do: is('chunk'), size, range: weighted('right', 5, 'none', 'ahead', 'behind', 'short') }),
  },
  { weight: 4, arbitrary: step({ do: is('close'), size, digest }) },
  { weight: 3, arbitrary: step({ do: is('whole'), size, digest }) },
  { weight: 5, arbitrary: step({ do: fc.constantFrom('status', 'cancel', 'pull', 'pull', 'list') }) },
  { weight: 1, arbitrary: step({ do: is('mount'), from: fc.constantFrom('fixture', 'none', 'odd') }) },
  {
    weight: 4,
    arbitrary: step({
      do: is('manifest'),
      by: weighted('tag', 3, 'digest', 'sha512', 'tags', 'wrong'),
      kind: fc.constantFrom('image', 'index', 'artifact'),
      edits: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, fc.array(jsonEdit, { minLength: 1, maxLength: 3 })),
    }),
  },
  { weight: 2, arbitrary: step({ do: is('delete'), what: fc.constantFrom('tag', 'manifest', 'blob') }) },
) as fc.Arbitrary<Step>;

export const sequence: fc.Arbitrary<Step[]> = fc.array(anyStep, { minLength: 3, maxLength: 14 });
