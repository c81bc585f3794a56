/** What all commands that call the Admin service have in common: their options, their exit statuses, and how they end. */
import { CONFIG_OPTION, type Command, type Given, type Options, textOf, UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import type { Io } from '../io.js';
import { Screen } from '../output/screen.js';
import type { Admin } from './admin.js';

/** What a command has to work with. */
export interface Call {
  readonly admin: Admin;
  readonly given: Given;
  readonly screen: Screen;
  readonly io: Io;
  /** Aborted when somebody ends the command. */
  readonly signal: AbortSignal;
}

export interface AdminCommand extends Omit<Command, 'run'> {
  /** When the exit status is 0, and 1. The others are the same for all commands. */
  readonly exits: { readonly 0: string; readonly 1: string };
  /** What is said when somebody ends the command. */
  readonly ended?: string;
  /** Throws a UsageError for what is wrong with the arguments, before anybody is asked. */
  check?(given: Given): void;
  /** Does it; resolves to the exit status. */
  run(call: Call): Promise<number>;
}

const COMMON: Options = {
  server: {
    type: 'string',
    short: 's',
    placeholder: 'HOST:PORT',
    help: 'the worker to ask; several, separated by commas, are tried in turn',
  },
  ...CONFIG_OPTION,
  json: { type: 'boolean', help: 'print one JSON object a line' },
};

/** Makes a command of what it has of its own. */
export function adminCommand(own: AdminCommand): Command {
  return {
    ...own,
    description: [own.description, `Exit status: 0 ${own.exits[0]}, 1 ${own.exits[1]},`, COMMON_EXITS].join('\n'),
    options: { ...own.options, ...COMMON },
    async run(given, io) {
      own.check?.(given);
      const screen = new Screen(io.stdout, given.json === true);
      // Only now: nobody who asks for help is to wait for all of gRPC.
      const { withAdmin } = await import('./session.js');
      return withAdmin({ given, io, screen, ended: own.ended ?? ENDED }, (admin, signal) =>
        own.run({ admin, given, screen, io, signal }),
      );
    },
  };
}

const ENDED = 'Nothing is left half-done; the same command can be run again.';

const COMMON_EXITS = `2 the command was called wrongly, 3 no worker could be asked, ${EXIT.interrupted} ended by Ctrl-C.`;

/** The argument that is no option. */
export function operandOf(given: Given): string {
  return textOf(given, 'operand') ?? '';
}

/** An option that is a whole number. Throws a UsageError. */
export function numberOf(given: Given, option: string, least: number, most: number): number | undefined {
  const text = textOf(given, option);
  if (text === undefined) return undefined;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most && Number.isSafeInteger(value))) {
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `from ${least} to ${most}`;
    throw new UsageError(`--${option} must be a whole number, ${range}: ${text}`);
  }
  return value;
}

/** An option that is a number of bytes: `1500000`, `200K`, `50M`, `1G` (of 1024). Throws a UsageError. */
export function bytesOf(given: Given, option: string): number | undefined {
  const text = textOf(given, option);
  if (text === undefined) return undefined;
  const match = /^([0-9]{1,16})([KMG]?)$/.exec(text);
  const value = match ? Number(match[1]) * 1024 ** ['', 'K', 'M', 'G'].indexOf(match[2] ?? '') : Number.NaN;
  if (!Number.isSafeInteger(value))
    throw new UsageError(`--${option} must be a number of bytes, for example 1500000, 200K, 50M or 1G: ${text}`);
  return value;
}
