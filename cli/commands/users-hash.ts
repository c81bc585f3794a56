/** `entrepot users hash`: makes the line of a users file that stands for a password. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { hashPassword } from '../../lib/users/password.js';
import { isUserName } from '../../lib/users/users-file.js';
import { type Command, UsageError } from '../command.js';

export const usersHash: Command = {
  name: 'users hash',
  summary: 'Make the hash of a password, for a users file.',
  description: [
    'Asks for the password twice without showing it, or reads it from standard input if that is no',
    'terminal (a line end after it does not count). Writes a line for the file, or with --user the',
    'beginning of an entry. The password is kept nowhere.',
    'Exit status: 0 done, 1 the password cannot be used, 2 the command was called wrongly.',
  ].join('\n'),
  options: {
    user: { type: 'string', short: 'u', placeholder: 'NAME', help: 'write an entry for this user' },
  },
  async run({ user }) {
    if (typeof user === 'string' && !isUserName(user)) {
      throw new UsageError(
        'a name has 2 to 255 small letters and digits, with . _ - between them, or is namespace+name',
      );
    }
    const password = process.stdin.isTTY ? await askTwice() : (await text(process.stdin)).replace(/\r?\n$/, '');
    if (password === '') throw new Error('the password is empty');
    if (/[\r\n]/.test(password)) throw new Error('the password has more than one line');
    const line = `password: ${await hashPassword(password)}`;
    if (user === undefined) console.log(line);
    else console.log(`${user}:\n  ${line}\n  pull: []\n  push: []\n  delete: []`);
    return 0;
  },
};

async function askTwice(): Promise<string> {
  const password = await ask('Password: ');
  if (password !== (await ask('The same again: '))) throw new Error('these were two different passwords');
  return password;
}

/** Asks on standard error: standard output is for the result. What is typed is not shown. */
async function ask(question: string): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  const given = new AbortController();
  lines.once('SIGINT', () => given.abort());
  try {
    return await lines.question('', { signal: given.signal });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
