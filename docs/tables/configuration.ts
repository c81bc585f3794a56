/**
 * The tables of docs/configuration.md, made from the schema that the configuration is read with (lib/config/schema).
 *
 * The page is written by hand. Between `<!-- keys: TITLE -->` and `<!-- end -->` stand the keys of one section, and
 * `npm run docs` writes them there; between `<!-- fields: KEY -->` and `<!-- end -->` those of a mapping. A test
 * compares, so that neither the page nor the schema can be changed alone.
 */
import { z } from 'zod';
import type { Role } from '../../lib/config/config.js';
import type { KeySchema } from '../../lib/config/schema/key.js';
import { redisSchema } from '../../lib/config/schema/redis.js';
import { absentOf, KEY_GROUPS } from '../../lib/config/schema/schema.js';

const ROLE_NAMES: Readonly<Record<Role, string>> = {
  gateway: 'gateway',
  'storage-proxy': 'storage-proxy',
  worker: 'worker',
  cli: '`entrepot`',
};

const MARKED = /<!-- (keys|fields): (.+?) -->\n(.*?)<!-- end -->/gs;

/** The page with its tables as the schema has them. Throws if a section of the schema has no place in it. */
export function withTables(page: string): string {
  const missing = new Set(KEY_GROUPS.map(({ title }) => title));
  const written = page.replace(MARKED, (_, kind: string, title: string) => {
    const table = kind === 'keys' ? keyTable(title) : fieldTable(title);
    missing.delete(title);
    return `<!-- ${kind}: ${title} -->\n${table}\n<!-- end -->`;
  });
  if (missing.size > 0) throw new Error(`the page has no table for: ${[...missing].join(', ')}`);
  return written;
}

function keyTable(title: string): string {
  const group = KEY_GROUPS.find(each => each.title === title);
  if (!group) throw new Error(`lib/config/schema has no section ${title}`);
  const rows = Object.entries(group.keys).map(([name, schema]) => [
    `\`${name}\``,
    schema.meaning,
    takes(name, schema),
    absentOf(schema),
    readers(schema.readBy),
  ]);
  return markdownTable(['key', '', 'takes', 'default', 'read by'], rows);
}

function fieldTable(title: string): string {
  if (title !== 'Redis') throw new Error(`there is no mapping ${title}`);
  const rows = Object.entries(redisSchema.shape).map(([name, field]) => {
    const { description, absent, meaning } = FIELD.parse(field.meta());
    return [`\`${name}\``, meaning, description, absent];
  });
  return markdownTable(['field', '', 'takes', 'default'], rows);
}

const FIELD = z.object({ description: z.string(), absent: z.string(), meaning: z.string() });

function takes(name: string, { value }: KeySchema): string {
  if (value.description === undefined) throw new Error(`${name}: its schema has no description`);
  return value.description;
}

function readers(roles: readonly Role[]): string {
  return roles.length === Object.keys(ROLE_NAMES).length ? 'all' : roles.map(role => ROLE_NAMES[role]).join(', ');
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`.replaceAll('|  |', '| |');
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
