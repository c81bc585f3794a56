/** `entrepot config keys`: what there is to be configured, out of the schema that the configuration is read with. */
import type { Role } from '../../lib/config/config.js';
import { PREFERENCE_VARIABLE } from '../../lib/config/keys.js';
import type { KeySchema } from '../../lib/config/schema/key.js';
import { absentOf, KEY_GROUPS } from '../../lib/config/schema/schema.js';
import { type Command, UsageError } from '../command.js';
import { EXIT } from '../exit.js';

const ROLES: readonly Role[] = ['gateway', 'storage-proxy', 'worker', 'cli'];

export const configKeys: Command = {
  name: 'config keys',
  summary: 'Show every key of the configuration.',
  description: [
    'For each: what it is for, what it takes, what counts without it, and which processes it makes a',
    'difference to (cli is this command). docs/configuration.md says more. Reads no file.',
    'Exit status: 0 they are shown, 1 never, 2 the command was called wrongly.',
  ].join('\n'),
  options: {
    role: { type: 'string', short: 'r', placeholder: 'ROLE', help: `only those that one reads: ${ROLES.join(', ')}` },
  },
  async run({ role }) {
    const wanted = ROLES.find(known => known === role);
    if (role !== undefined && !wanted)
      throw new UsageError(`there is no role ${role}; it is one of ${ROLES.join(', ')}`);
    for (const { title, keys } of KEY_GROUPS) {
      const shown = Object.entries(keys).filter(([, { readBy }]) => !wanted || readBy.includes(wanted));
      if (shown.length === 0) continue;
      console.log(`${plain(title)}\n`);
      for (const [name, schema] of shown) for (const line of linesOf(name, schema)) console.log(line);
      console.log('');
    }
    console.log(
      `In the environment only: ENTREPOT_CONFIG, the file to read; ${PREFERENCE_VARIABLE}, the preference of one process.`,
    );
    return EXIT.done;
  },
};

function linesOf(name: string, schema: KeySchema): string[] {
  const { meaning, value, readBy } = schema;
  return [
    `  ${name}`,
    `      ${plain(meaning)}`,
    `      takes ${plain(value.description ?? '')}; default: ${plain(absentOf(schema))}; read by ${readBy.join(', ')}`,
  ];
}

/** Without Markdown's marks. */
function plain(markdown: string): string {
  return markdown.replace(/\[([^\]]*)\]\(([^)]*)\)/g, '$1 (docs/$2)').replaceAll('`', '');
}
