/**
 * `GET /health/instance` (and `/health`), in the form that Quay's monitors know: 200 if every service is true.
 *
 * It says whether this gateway should get requests. A store that is down is told, but is no reason to say no: the
 * gateway serves from the other locations, and taking every gateway of a region out for it would make an outage of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Locations } from '../lib/locations/locations.js';
import type { Database } from '../lib/metadata/database.js';
import type { Context } from './http/context.js';
import { oci } from './http/errors.js';

export interface HealthParts {
  readonly db: Database;
  readonly locations: Locations;
  /** Whether the server is ending. */
  readonly isDraining: () => boolean;
}

const DATABASE_TIMEOUT_MS = 2_000;

export function isHealthPath(path: string): boolean {
  return path === '/health' || path === '/health/instance';
}

export function createHealth({ db, locations, isDraining }: HealthParts) {
  let asking: Promise<boolean> | undefined;

  /** However many ask at once, the database is asked once. */
  const databaseAnswers = (): Promise<boolean> => {
    asking ??= ping(db).finally(() => {
      asking = undefined;
    });
    return asking;
  };

  return async (ctx: Context): Promise<void> => {
    ctx.state.route = 'health';
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') throw oci.methodUnsupported(ctx.method, ['GET', 'HEAD']);
    const services = { gateway: !isDraining(), database: await databaseAnswers() };
    const preferred = locations.all[0]?.serves('read') ?? false;
    const status = Object.values(services).every(Boolean) ? 200 : 503;
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({
      data: {
        services,
        informational: { preferred_storage: preferred },
      },
      status_code: status,
    });
    ctx.status = status;
  };
}

async function ping(db: Database): Promise<boolean> {
  const late = new AbortController();
  try {
    return await Promise.race([
      db.query('select 1').then(() => true),
      sleep(DATABASE_TIMEOUT_MS, false, { signal: late.signal }),
    ]);
  } catch {
    return false;
  } finally {
    late.abort();
  }
}
