/** Looks at a database from outside, before any process uses it: nothing is changed. */
import type pg from 'pg';
import { connectOnce, type Row } from './database.js';
import { missingNames, releaseNames } from './migrate.js';
import { asText } from './row.js';

export interface DatabaseState {
  /** PostgreSQL's version, for example `18.1`. */
  readonly version: string;
  /** Migrations and functions of this release that are not there yet. */
  readonly missing: readonly string[];
  /** The identity on record of each location's store. */
  readonly markers: ReadonlyMap<string, string>;
}

const STATEMENT_TIMEOUT_MS = 5_000;
const NOTIFY_TIMEOUT_MS = 3_000;

/** Throws, with what PostgreSQL said, if it cannot be used. */
export async function inspectDatabase(url: string): Promise<DatabaseState> {
  return withClient(url, async client => {
    const query = async (text: string, values: unknown[] = []) => (await client.query<Row>(text, values)).rows;
    const [server] = await query('show server_version');
    const missing = await missingNames(await releaseNames(), query);
    const markers = missing.length > 0 ? [] : await query(MARKERS);
    return {
      version: (server ? asText(server, 'server_version') : '').replace(/ .*/, ''),
      missing,
      markers: new Map(markers.map(row => [asText(row, 'name'), asText(row, 'marker')])),
    };
  });
}

const MARKERS = `
  select l.name, s.marker::text as marker from imagestoragelocation l join locationstate s on s.location_id = l.id
   where s.marker is not null`;

/** Whether a notification arrives at the session that listens for it: not through a pooler that shares sessions. */
export async function canListen(url: string): Promise<boolean> {
  return withClient(url, async client => {
    let timer: NodeJS.Timeout | undefined;
    const arrival = new Promise<boolean>(resolve => {
      client.once('notification', () => resolve(true));
      timer = setTimeout(() => resolve(false), NOTIFY_TIMEOUT_MS);
    });
    try {
      await client.query('listen entrepot_inspect');
      await client.query('notify entrepot_inspect');
      return await arrival;
    } finally {
      clearTimeout(timer);
    }
  });
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connectOnce(url, 'entrepot config check');
  try {
    await client.query(`set statement_timeout = ${STATEMENT_TIMEOUT_MS}`);
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}
