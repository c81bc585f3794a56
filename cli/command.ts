/** What a command of `entrepot` is, and how its arguments are read. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { Io } from './io.js';

/** The options of a command, as node:util's parseArgs describes them, and one line of help for each. */
export type Options = Record<
  string,
  {
    readonly type: 'string' | 'boolean';
    readonly short?: string;
    readonly help: string;
    readonly placeholder?: string;
    /** It may be given several times: its value is a list. */
    readonly multiple?: boolean;
  }
>;

/** The option of every command that reads a configuration. */
export const CONFIG_OPTION: Options = {
  config: {
    type: 'string',
    short: 'c',
    placeholder: 'FILE',
    help: 'the configuration (default: ENTREPOT_CONFIG, or /conf/stack/config.yaml)',
  },
};

/** The options that were given. */
export type Given = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** An option's text; undefined if it was not given. */
export function textOf(given: Given, option: string): string | undefined {
  const value = given[option];
  return typeof value === 'string' ? value : undefined;
}

/** One command. */
export interface Command {
  /** Its words, for example `config check`. */
  readonly name: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** What else there is to know; lines of at most 100 characters. */
  readonly description: string;
  readonly options: Options;
  /** What the one argument that is no option is called, for example `FILE`; it must be given then, as `operand`. */
  readonly operand?: string;
  /** Does it; resolves to the exit status. */
  run(given: Given, io: Io): Promise<number>;
}

/** The command was called in a way that it does not have. Exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Reads the arguments after the command's words. Throws a UsageError. */
export function parseOptions(command: Command, args: readonly string[]): Given {
  const options: ParseArgsConfig['options'] = { help: { type: 'boolean', short: 'h' } };
  for (const [name, { type, short, multiple = false }] of Object.entries(command.options))
    options[name] = short ? { type, short, multiple } : { type, multiple };
  let given: { readonly values: Given; readonly positionals: readonly string[] };
  try {
    const allowPositionals = command.operand !== undefined;
    const { values, positionals } = parseArgs({ args: [...args], options, strict: true, allowPositionals });
    given = { values: values as Given, positionals };
  } catch (error) {
    // Its messages are good: they name the option and what is wrong with it.
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  if (command.operand === undefined || given.values.help) return given.values;
  const [operand, ...rest] = given.positionals;
  if (operand === undefined || operand === '') throw new UsageError(`${command.name} needs one ${command.operand}`);
  if (rest.length > 0)
    throw new UsageError(`${command.name} takes one ${command.operand}; there is ${rest.join(' ')} besides`);
  return { ...given.values, operand };
}

/** The text of `entrepot COMMAND --help`. */
export function commandHelp(command: Command): string {
  const usage = Object.entries(command.options).map(
    ([name, { placeholder }]) => ` [--${name}${placeholder ? ` ${placeholder}` : ''}]`,
  );
  const all: Options = { ...command.options, help: { type: 'boolean', short: 'h', help: 'show this text' } };
  const rows = Object.entries(all).map(([name, { short, placeholder, help }]) => ({
    left: `${short ? `-${short}, ` : '    '}--${name}${placeholder ? ` ${placeholder}` : ''}`,
    help,
  }));
  const width = Math.max(...rows.map(({ left }) => left.length)) + 2;
  return [
    `Usage: entrepot ${command.name}${command.operand ? ` ${command.operand}` : ''}${usage.join('')}`,
    '',
    command.summary,
    '',
    command.description,
    '',
    'Options:',
    ...rows.map(({ left, help }) => `  ${left.padEnd(width)}${help}`),
  ].join('\n');
}
