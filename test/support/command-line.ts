/** The `entrepot` command, run in this process. (As a process of its own: entrepot.ts.) */
import { Readable } from 'node:stream';
import { commands } from '../../cli/commands/all.js';
import { run } from '../../cli/run.js';

export interface CommandOutcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The lines of standard output. */
  readonly lines: readonly string[];
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What is typed. */
  readonly input?: string;
  /** The width of the terminal; absent: no terminal. */
  readonly columns?: number;
}

/** Runs a command line, in this process. */
export async function command(args: readonly string[], options: CommandOptions = {}): Promise<CommandOutcome> {
  let stdout = '';
  let stderr = '';
  const terminal = options.columns === undefined ? {} : { isTTY: true, columns: options.columns };
  const status = await run(commands, args, {
    env: options.env ?? {},
    stdin: Readable.from(options.input === undefined ? [] : [options.input]),
    stdout: { write: text => (stdout += text), ...terminal },
    stderr: { write: text => (stderr += text) },
  });
  return { status, stdout, stderr, lines: stdout.trimEnd().split('\n') };
}

/** The objects that a command has printed with `--json`. */
export function objects({ lines }: CommandOutcome): Record<string, unknown>[] {
  return lines.map(line => JSON.parse(line) as Record<string, unknown>);
}
