#!/usr/bin/env node
/** The `entrepot` command: finds the command that is meant, and turns what happens into an exit status. */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../lib/config/load.js';
import { stripCredentials } from '../lib/telemetry/credentials.js';
import { type Command, commandHelp, parseOptions, UsageError } from './command.js';
import { certsInit, certsIssue } from './commands/certs.js';
import { configCheck } from './commands/config-check.js';
import { migrate } from './commands/migrate.js';
import { usersCheck } from './commands/users-check.js';
import { usersHash } from './commands/users-hash.js';

const COMMANDS: readonly Command[] = [configCheck, migrate, usersHash, usersCheck, certsInit, certsIssue];

/** Runs a command line; resolves to the exit status: 0 done, 1 failed, 2 called wrongly. */
async function main(args: readonly string[]): Promise<number> {
  const [word] = args;
  if (word === '--help' || word === '-h' || word === 'help') {
    console.log(help(COMMANDS));
    return 0;
  }
  if (word === '--version') {
    console.log(version());
    return 0;
  }
  const command = COMMANDS.find(({ name }) => name.split(' ').every((part, index) => args[index] === part));
  if (!command) return unknown(args);

  const given = parseOptions(command, args.slice(command.name.split(' ').length));
  if (given.help) {
    console.log(commandHelp(command));
    return 0;
  }
  return command.run(given);
}

/** No command has these words; perhaps several begin with the first (`entrepot config`). */
function unknown(args: readonly string[]): number {
  const [word] = args;
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${word} `));
  if (group.length > 0 && (args[1] === '--help' || args[1] === '-h')) {
    console.log(help(group));
    return 0;
  }
  if (word === undefined) throw new UsageError('no command is given');
  if (word.startsWith('-')) throw new UsageError(`unknown option ${word}`);
  if (group.length > 0)
    throw new UsageError(`${word} needs one of: ${group.map(({ name }) => name.slice(word.length + 1)).join(', ')}`);
  throw new UsageError(`there is no command ${word}`);
}

function help(commands: readonly Command[]): string {
  const rows = commands.map(({ name, summary }) => `  ${name.padEnd(16)}${summary}`);
  return [
    'Usage: entrepot COMMAND [OPTIONS]',
    '',
    ...rows,
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

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`entrepot: ${error.message}\nTry 'entrepot --help'.`);
    process.exitCode = 2;
  } else {
    const message = error instanceof Error ? error.message : String(error);
    console.error(error instanceof ConfigError ? message : `entrepot: ${stripCredentials(message)}`);
    process.exitCode = 1;
  }
}
