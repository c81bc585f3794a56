/**
 * The connection to PostgreSQL, the truth about everything but bytes.
 *
 * `DB_URI` may name several hosts (a primary and its standbys); `pg` cannot read that. The pool here connects to the
 * first host that accepts writes, and looks again when the one it has goes away or has become a standby.
 */
import pg from 'pg';
import type { Logger } from 'pino';
import type { DatabaseConfig } from '../config/config.js';
import { inSpan, isRecording } from '../telemetry/span.js';
import { statementAttributes, statementName } from './statement-span.js';
import { connectionOf, isTlsFailure } from './tls.js';

/** PostgreSQL cannot be reached, or cannot serve now. Nothing is wrong with the request. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable';
}

/** A location that bytes were written to is being removed, or was, and takes no records any more. Others do. */
export class LocationClosed extends Error {
  override readonly name = 'LocationClosed';
}

/** How long to wait for a connection: from the pool, or to a server that does not answer. */
const CONNECT_TIMEOUT_MS = 5_000;

/** No statement of ours takes long; one that does is stuck behind a lock, and its request is lost anyway. */
const STATEMENT_TIMEOUT_MS = 30_000;

/** A row as it comes: validated by the function that asked for it. */
export type Row = Record<string, unknown>;

export interface QueryOptions {
  /**
   * The statement may run twice: it is tried once more on a new connection if its own was lost. The first one may have been
   * committed, may even still be at it, and somebody else's may come in between. (After a deadlock every statement is tried
   * once more: the server has undone it.) So it must be one of these:
   *
   * - It only reads.
   * - It is applied once (applied-calls.ts): `Manifests.put` and `tag`, `Blobs.record`.
   * - It belongs to whoever holds a token that it names, and says the same each time: what processes and workers say of
   *   themselves, the lease of a writer, of work on a location, and how far such work is. Nobody else writes that.
   * - It adds what is missing and leaves what is there: locations and their markers, signing keys, `Blobs.mount`, copies to
   *   rescue, a backfill. What others took away in between is there again, as if it had come after them. (The counts that
   *   a repeated backfill answers take its own copies for queued already.)
   * - It sets what an operator, or a process that starts, wants: pauses, limits, the mode, where blobs must be, the next step
   *   of a removal. If somebody else has set it in between, neither knew of the other: the one that is answered last holds.
   * - It moves something that may be moved any number of times: events that were published, queued copies to a better queue.
   *
   * Everything else is not: who ends an upload, or deletes a tag, a manifest or a blob from a repository, is told that the
   * database was unavailable, and finds out by asking again. A second delete would answer "not there", or delete what was
   * pushed since.
   */
  readonly repeatable?: boolean;
}

/** One host's worth of a connection string. Each is tried in turn. */
export function hostsOf(url: string): string[] {
  const match = /^([a-z]+:\/\/)([^@/]*@)?([^/?]*)(.*)$/s.exec(url);
  if (!match) return [url];
  const [, scheme = '', login = '', hosts = '', rest = ''] = match;
  return hosts.split(',').map(host => `${scheme}${login}${host}${rest}`);
}

export class Database {
  readonly #config: DatabaseConfig;
  readonly #log: Logger;
  readonly #hosts: string[];
  #pool: Promise<pg.Pool> | undefined;
  /** What `#pool` resolved to. */
  #current: pg.Pool | undefined;
  #closing: Promise<void> | undefined;

  constructor(config: DatabaseConfig, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.#hosts = hostsOf(config.url);
  }

  /**
   * Runs one statement. Throws DatabaseUnavailable when the server is at fault, LocationClosed when the statement says so,
   * the driver's error otherwise.
   */
  async query(text: string, values: readonly unknown[] = [], options: QueryOptions = {}): Promise<Row[]> {
    try {
      return await this.#run(text, values);
    } catch (error) {
      if (codeOf(error) === CLOSED)
        throw new LocationClosed(error instanceof Error ? error.message : '', { cause: error });
      if (!isUnavailable(error)) throw error;
      if (this.#closing || !(options.repeatable || wasUndone(error)))
        throw new DatabaseUnavailable(`PostgreSQL is unavailable: ${error.message}`, { cause: error });
    }
    try {
      return await this.#run(text, values);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      throw new DatabaseUnavailable(`PostgreSQL is unavailable: ${error.message}`, { cause: error });
    }
  }

  /** How its connections are used now. */
  get pool(): { busy: number; idle: number; waiting: number } {
    const { totalCount = 0, idleCount = 0, waitingCount = 0 } = this.#current ?? {};
    return { busy: totalCount - idleCount, idle: idleCount, waiting: waitingCount };
  }

  /** Resolves when its connections are closed; may be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    const pool = await this.#pool?.catch(() => undefined);
    await pool?.end();
  }

  #run(text: string, values: readonly unknown[]): Promise<Row[]> {
    if (!isRecording()) return this.#runUntraced(text, values);
    return inSpan(statementName(text), 'client', statementAttributes(text), () => this.#runUntraced(text, values));
  }

  async #runUntraced(text: string, values: readonly unknown[]): Promise<Row[]> {
    const pool = await this.#writablePool();
    try {
      const result = await pool.query<Row>(text, [...values]);
      return result.rows;
    } catch (error) {
      if (this.#hosts.length > 1 && isUnavailable(error)) this.#forget(pool);
      throw error;
    }
  }

  #writablePool(): Promise<pg.Pool> {
    this.#pool ??= this.#connect().then(
      pool => {
        this.#current = pool;
        return pool;
      },
      error => {
        this.#pool = undefined;
        throw error;
      },
    );
    return this.#pool;
  }

  async #connect(): Promise<pg.Pool> {
    if (this.#hosts.length === 1) return await this.#poolFor(this.#config.url);
    let failure: unknown = new Error('DB_URI names no host');
    for (const url of this.#hosts) {
      let pool: pg.Pool | undefined;
      try {
        pool = await this.#poolFor(url);
        const { rows } = await pool.query<Row>('select pg_is_in_recovery() as standby');
        if (rows[0]?.standby === false) return pool;
        failure = Object.assign(new Error('every host of DB_URI that answers is a standby'), { code: READ_ONLY });
      } catch (error) {
        failure = error;
      }
      await pool?.end().catch(() => {});
    }
    throw failure;
  }

  async #poolFor(url: string): Promise<pg.Pool> {
    const pool = new pg.Pool({
      ...(await connectionOf(url, CONNECT_TIMEOUT_MS)),
      max: this.#config.poolSize,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idleTimeoutMillis: 60_000,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS + 5_000,
      keepAlive: true,
      application_name: 'entrepot',
    });
    // An idle connection that breaks is replaced when it is next needed; without a listener it would end the process.
    pool.on('error', error => this.#log.debug({ err: error }, 'an idle connection to PostgreSQL was lost'));
    return pool;
  }

  /** Looks for another host next time. Of many queries that fail with one pool, only the first does something. */
  #forget(pool: pg.Pool): void {
    if (pool !== this.#current) return;
    this.#pool = undefined;
    this.#current = undefined;
    pool.end().catch(() => {});
  }
}

/** Raised by place_of_commit (functions/00_locations.sql). */
const CLOSED = 'EN001';
/** cannot execute … in a read-only transaction: a primary that has become a standby. */
const READ_ONLY = '25006';
const UNAVAILABLE_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  READ_ONLY,
  '53300',
  '57P01',
  '57P02',
  '57P03',
  '57014',
  '55P03',
  '55000',
  '40001',
  '40P01',
]);

/** Whether the server itself took back what the statement did, and another try is safe: serialization failure, deadlock. */
function wasUndone(error: Error): boolean {
  return 'code' in error && (error.code === '40001' || error.code === '40P01');
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function isUnavailable(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError) return error.errors.some(isUnavailable);
  const code = codeOf(error);
  if (UNAVAILABLE_CODES.has(code) || code.startsWith('08') || isTlsFailure(error)) return true;
  return /Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered/.test(
    error.message,
  );
}

/** A single connection, for what a pool cannot do: LISTEN, and locks that belong to a session. The caller ends it. */
export async function connectOnce(url: string, applicationName: string): Promise<pg.Client> {
  let failure: unknown;
  for (const host of hostsOf(url)) {
    let client: pg.Client | undefined;
    try {
      client = new pg.Client({
        ...(await connectionOf(host, CONNECT_TIMEOUT_MS)),
        connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
        keepAlive: true,
        application_name: applicationName,
      });
      client.on('error', () => {});
      await client.connect();
      const { rows } = await client.query<Row>('select pg_is_in_recovery() as standby');
      if (rows[0]?.standby === false) return client;
      failure = new Error('the server is a standby');
    } catch (error) {
      failure = error;
    }
    await client?.end().catch(() => {});
  }
  throw new DatabaseUnavailable(`PostgreSQL is unavailable: ${failure instanceof Error ? failure.message : failure}`, {
    cause: failure,
  });
}
