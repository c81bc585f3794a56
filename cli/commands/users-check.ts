/** `entrepot users check FILE`: says whether gateways could use a users file, and what it means. */
import { readFileSync } from 'node:fs';
import type { Action, RepositorySet } from '../../lib/users/rights.js';
import { parseUsersFile } from '../../lib/users/users-file.js';
import type { Command } from '../command.js';

const ACTIONS: readonly Action[] = ['pull', 'push', 'delete'];

export const usersCheck: Command = {
  name: 'users check',
  summary: 'Check a users file and show who may do what.',
  description: [
    'Lists every mistake with its line. A gateway goes on with the last file without mistakes; check a',
    'change before you put it where gateways read it. SUPER_USERS of the configuration is not looked at.',
    'Exit status: 0 the file can be used, 1 it cannot, 2 the command was called wrongly.',
  ].join('\n'),
  options: {},
  operand: 'FILE',
  async run({ operand }) {
    const file = String(operand);
    const result = parseUsersFile(readText(file), { libraryNamespace: 'library', superUsers: [] });
    if ('mistakes' in result) {
      console.error(`${file}: cannot be used`);
      for (const mistake of result.mistakes) console.error(`  ${mistake}`);
      return 1;
    }
    console.log(`${file}: ok`);
    for (const { name, rights } of result.users.all) {
      const may = ACTIONS.flatMap(action => (rights[action].isEmpty ? [] : [`${action} ${textOf(rights[action])}`]));
      console.log(`  ${name.padEnd(16)}${may.join('; ') || 'nothing'}`);
    }
    return 0;
  },
};

function textOf({ names, prefixes }: RepositorySet): string {
  return [...names, ...prefixes.map(prefix => `${prefix}*`)].join(', ');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : 'unknown error';
    throw new Error(`${file} cannot be read (${code})`);
  }
}
