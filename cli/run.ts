/** Runs a command line: finds the command that is meant, and turns what happens into an exit status. */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../lib/config/load.js';
import { stripCredentials } from '../lib/telemetry/credentials.js';
import { type Command, commandHelp, parseOptions, UsageError } from './command.js';
import { EXIT, Failure } from './exit.js';
import type { Io } from './io.js';

/** Resolves to the exit status. */
export async function run(commands: readonly Command[], args: readonly string[], io: Io): Promise<number> {
  try {
    return await find(commands, args, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.stderr.write(`entrepot: ${error.message}\nTry '${helpFor(commands, args)}'.\n`);
      return EXIT.usage;
    }
    const message = error instanceof Error ? error.message : String(error);
    io.stderr.write(error instanceof ConfigError ? `${message}\n` : `entrepot: ${stripCredentials(message)}\n`);
    return error instanceof Failure ? error.exit : EXIT.failed;
  }
}

async function find(commands: readonly Command[], args: readonly string[], io: Io): Promise<number> {
  const say = (text: string) => {
    io.stdout.write(`${text}\n`);
    return EXIT.done;
  };
  const [word] = args;
  if (word === '--help' || word === '-h' || word === 'help') return say(help(commands));
  if (word === '--version') return say(version());
  const command = named(commands, args);
  if (command) {
    const given = parseOptions(command, args.slice(command.name.split(' ').length));
    return given.help ? say(commandHelp(command)) : command.run(given, io);
  }

  // No command has these words; perhaps several begin with the first (`entrepot config`).
  if (word === undefined) throw new UsageError('no command is given');
  const group = commands.filter(({ name }) => name.startsWith(`${word} `));
  if (group.length > 0 && (args[1] === '--help' || args[1] === '-h')) return say(help(group));
  if (word.startsWith('-')) throw new UsageError(`unknown option ${word}`);
  if (group.length > 0)
    throw new UsageError(`${word} needs one of: ${group.map(({ name }) => name.slice(word.length + 1)).join(', ')}`);
  throw new UsageError(`there is no command ${word}`);
}

function named(commands: readonly Command[], args: readonly string[]): Command | undefined {
  return commands.find(({ name }) => name.split(' ').every((part, index) => args[index] === part));
}

/** `entrepot config check --help`, or as much of it as is known: where whoever called it wrongly reads on. */
function helpFor(commands: readonly Command[], args: readonly string[]): string {
  const group = args.slice(0, 1).filter(word => commands.some(({ name }) => name.startsWith(`${word} `)));
  return ['entrepot', named(commands, args)?.name ?? group, '--help'].flat().join(' ');
}

function help(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  return [
    'Usage: entrepot COMMAND [OPTIONS]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    '',
    "'entrepot COMMAND --help' tells more. 'entrepot --version' tells the version.",
  ].join('\n');
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
}
