/**
 * `DB_URI`: how the database is named.
 *
 * The form is SQLAlchemy's, as Quay takes it: `postgresql+psycopg2://user:password@host:5432/quay?sslmode=require`.
 * A password may hold raw characters that a URL may not (everything but `@`), and several hosts may be given, separated
 * by commas. The result is a proper `postgresql://` URL (but for its several hosts) with the same meaning.
 *
 * Messages never contain any part of the text: a mistake shifts the borders between its parts, and with them the password.
 */
import { parseAddress } from './address.js';

/** The normalised URL, or what is wrong with the text. */
export type DatabaseUri = { readonly url: string } | { readonly mistake: string };

const EXAMPLE = 'postgresql://USER:PASSWORD@HOST:5432/DATABASE';
const SCHEMES = ['postgresql', 'postgres', 'postgresql+psycopg2'];
// user [: password] @ hosts / database ? query
const PARTS = /^(?:([^:/@]*)(?::([^@]*))?@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;

/** Normalises a `DB_URI`. `tls` holds libpq's parameters from `DB_CONNECTION_ARGS`; those in the text win. */
export function parseDatabaseUri(text: string, tls: Readonly<Record<string, string>> = {}): DatabaseUri {
  const separator = text.indexOf('://');
  const scheme = separator < 0 ? '' : text.slice(0, separator).toLowerCase();
  if (!SCHEMES.includes(scheme)) return { mistake: wrongScheme(scheme) };

  const parts = PARTS.exec(text.slice(separator + 3));
  if (!parts) return { mistake: `must have the form ${EXAMPLE}` };
  const [, user, password, hosts = '', database, queryText = ''] = parts;

  // The raw text is searched too: in "user:pa@ss@host" the part before the first @ looks complete.
  if (hosts.includes('@')) return { mistake: "the user name or the password contains '@'; write it as %40" };
  if (!database) return { mistake: `names no database after the host; the form is ${EXAMPLE}` };
  const query = new URLSearchParams(queryText);
  if (hosts === '' && !query.has('host')) return { mistake: `names no host; the form is ${EXAMPLE}` };
  for (const host of hosts === '' ? [] : hosts.split(',')) {
    if (!isHost(host)) return { mistake: 'each host must be HOST or HOST:PORT, several are separated by commas' };
  }
  for (const [name, value] of Object.entries(tls)) if (!query.has(name)) query.set(name, value);

  const login = user === undefined ? '' : `${recode(user)}${password === undefined ? '' : `:${recode(password)}`}@`;
  const options = query.size === 0 ? '' : `?${query}`;
  return { url: `postgresql://${login}${hosts}/${recode(database)}${options}` };
}

function wrongScheme(scheme: string): string {
  const other = /^(mysql|mariadb|sqlite|cockroachdb|oracle|mssql)/.exec(scheme)?.[1];
  const found = other ? `names a ${other} database; ` : '';
  return `${found}only PostgreSQL is supported: ${EXAMPLE}`;
}

function isHost(text: string): boolean {
  const hasPort = /:[0-9]+$/.test(text.replace(/^\[[^\]]*\]/, ''));
  const address = parseAddress(hasPort ? text : `${text}:5432`);
  return address !== undefined && address.port > 0;
}

/** The same text, percent-encoded as a URL asks for. A '%' that begins no code stands for itself. */
function recode(text: string): string {
  const codes = text.replace(/%(?![0-9A-Fa-f]{2})/g, '%25');
  try {
    return encodeURIComponent(decodeURIComponent(codes));
  } catch {
    return codes; // codes that are no UTF-8: they are in their encoded form already
  }
}
