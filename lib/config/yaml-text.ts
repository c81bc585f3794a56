/**
 * Reading one YAML text without ever quoting it.
 *
 * The parser's own messages contain pieces of the text (an unquoted password that starts with `*` is "an unresolved
 * alias" and would be printed), so only the kind and the place of a mistake are used, in words of our own.
 *
 * YAML 1.2 with `<<` merges: the rest of what Quay's YAML 1.1 reads differently (`yes`, `on`) is accepted where a
 * flag is expected.
 */
import { type ErrorCode, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type YAMLError } from 'yaml';

/** A value, or the reasons why there is none. */
export type YamlResult =
  | {
      readonly value: unknown;
      /** The line of what stands at a path; of the last part of the path that is there. */
      readonly lineOf: (path: readonly PropertyKey[]) => number;
    }
  | { readonly mistakes: readonly string[] };

const REASONS: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: "a value that starts with '*' must stand in quotes",
  BAD_DQ_ESCAPE: 'a text in double quotes has a backslash that means nothing there; use single quotes',
  BAD_INDENT: 'the indentation is wrong',
  BAD_SCALAR_START: 'a value starts with a character that YAML reserves; put the value in quotes',
  BLOCK_AS_IMPLICIT_KEY: "a value contains ': '; put the value in quotes",
  MISSING_CHAR: 'a quote or a bracket is missing',
  MULTIPLE_DOCS: "there is more than one document; remove the '---' between them",
  TAB_AS_INDENT: 'a line is indented with a tab; use spaces',
  TAG_RESOLVE_FAILED: "a value that starts with '!' must stand in quotes",
};

/** Parses `text`. Mistakes name line and column, and the key if it is given twice; nothing else of the text. */
export function parseYaml(text: string): YamlResult {
  const lines = new LineCounter();
  const document = parseDocument(text, { prettyErrors: false, lineCounter: lines, merge: true, logLevel: 'error' });
  // A warning is a value that YAML did not understand as it was meant (a tag): no better than an error.
  const errors = [...document.errors, ...document.warnings];
  if (errors.length > 0) return { mistakes: errors.map(error => describe(error, text, lines)) };
  try {
    return { value: document.toJS(), lineOf: path => lines.linePos(offsetOf(document.contents, path)).line };
  } catch {
    // Aliases are resolved only here. The text of the error would name the alias.
    return {
      mistakes: [
        "it refers to an anchor that is not there ('*name'); a value that starts with '*' must stand in quotes",
      ],
    };
  }
}

/** Where in the text the last part of a path stands that can be found. */
function offsetOf(root: unknown, path: readonly PropertyKey[]): number {
  let node = root;
  let offset = isNode(root) ? (root.range?.[0] ?? 0) : 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!pair || !isScalar(pair.key)) break;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      if (isNode(node)) offset = node.range?.[0] ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

function describe(error: YAMLError, text: string, lines: LineCounter): string {
  const { line, col } = lines.linePos(error.pos[0]);
  return `line ${line}, column ${col}: ${reason(error, text)}`;
}

function reason(error: YAMLError, text: string): string {
  if (error.code === 'DUPLICATE_KEY') {
    const key = /^["']?(\w+)["']?\s*:/.exec(text.slice(error.pos[0]))?.[1];
    return `the key ${key ?? 'here'} is given twice; keep one`;
  }
  return REASONS[error.code] ?? 'this is not valid YAML';
}
