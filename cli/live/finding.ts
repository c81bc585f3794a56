/** What a look at one of the things that a configuration names has found. */

export interface Finding {
  /** What it is, for example `database`. */
  readonly what: string;
  /** What was found, if all is well. */
  readonly good: string | undefined;
  /** What is wrong, each with the key of the configuration. */
  readonly problems: readonly { readonly key: string; readonly message: string }[];
}

export function good(what: string, text: string): Finding {
  return { what, good: text, problems: [] };
}

export function bad(what: string, key: string, message: string): Finding {
  return { what, good: undefined, problems: [{ key, message }] };
}
