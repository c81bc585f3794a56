/**
 * Health over HTTP, for balancers and monitors: Quay's paths in the form that Quay's monitors know, and Kubernetes' two.
 *
 * - `/health/instance` (`/health`): whether this gateway should get requests.
 * - `/health/endtoend` (`/status`): whether this region serves clients. A store that is down is told, but is no reason to
 *   say no: the gateway serves from the other locations, and taking a region out for it would make an outage of it. Those
 *   who would rather shift clients to another region then, say so in the configuration.
 * - `/health/warning`: what somebody should look at soon.
 * - `/healthz/live`: the process answers. `/healthz/ready`: it wants requests.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisCache } from '../lib/cache/redis.js';
import type { Locations } from '../lib/locations/locations.js';
import type { Database } from '../lib/metadata/database.js';
import type { Context } from './http/context.js';
import { oci } from './http/errors.js';

export interface HealthParts {
  readonly db: Database;
  readonly locations: Locations;
  readonly redis: RedisCache | undefined;
  /** ENTREPOT_HEALTH_REQUIRES_STORAGE. */
  readonly requireStorage: boolean;
  /** Whether the server is ending. */
  readonly isDraining: () => boolean;
}

/** What is true and what is not, and what is told besides. */
interface Report {
  readonly services: Readonly<Record<string, boolean>>;
  readonly informational?: Readonly<Record<string, boolean>>;
}

const DATABASE_TIMEOUT_MS = 2_000;

const PATHS = {
  '/health': 'instance',
  '/health/instance': 'instance',
  '/health/endtoend': 'endtoend',
  '/status': 'endtoend',
  '/health/warning': 'warning',
  '/healthz/live': 'live',
  '/healthz/ready': 'instance',
} as const;

export function isHealthPath(path: string): path is keyof typeof PATHS {
  return Object.hasOwn(PATHS, path);
}

export function createHealth({ db, locations, redis, requireStorage, isDraining }: HealthParts) {
  let asking: Promise<boolean> | undefined;

  /** However many ask at once, the database is asked once. */
  const databaseAnswers = (): Promise<boolean> => {
    asking ??= ping(db).finally(() => {
      asking = undefined;
    });
    return asking;
  };
  const ownServices = async () => {
    const database = await databaseAnswers();
    // Meanwhile the gateway may have been told to end.
    return { gateway: !isDraining(), database };
  };
  const [own] = locations.all;
  const isOwnUp = () => (own?.serves('read') ?? false) && own?.serves('write') === true;
  const each = () =>
    Object.fromEntries(
      locations.all.map(location => [`storage:${location.name}`, location.serves('read') && location.serves('write')]),
    );

  const reports: Record<(typeof PATHS)[keyof typeof PATHS], () => Promise<Report>> = {
    live: async () => ({ services: { gateway: true } }),
    instance: async () => ({
      services: await ownServices(),
      informational: { preferred_storage: own?.serves('read') ?? false },
    }),
    endtoend: async () => {
      const can = (need: 'read' | 'write') => locations.all.some(location => location.serves(need));
      return {
        services: {
          ...(await ownServices()),
          storage: requireStorage ? isOwnUp() : can('read') && can('write'),
        },
        informational: { ...each(), ...(redis ? { redis: await redis.answers() } : {}) },
      };
    },
    warning: async () => ({ services: { ...each(), ...(redis ? { redis: await redis.answers() } : {}) } }),
  };

  return async (ctx: Context, path: keyof typeof PATHS): Promise<void> => {
    ctx.state.route = 'health';
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') throw oci.methodUnsupported(ctx.method, ['GET', 'HEAD']);
    const { services, informational } = await reports[PATHS[path]]();
    const status = Object.values(services).every(Boolean) ? 200 : 503;
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({
      data: { services, ...(informational && { informational }) },
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
