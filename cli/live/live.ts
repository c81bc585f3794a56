/** Looks at everything that a configuration names: the database, Redis, every storage-proxy with its store, workers. */
import type { Config } from '../../lib/config/config.js';
import { lookAtDatabase } from './database.js';
import type { Finding } from './finding.js';
import { lookAtNodes, lookAtWorkers } from './nodes.js';
import { lookAtRedis } from './redis.js';

/** `configs`: what the processes that are checked for have as their configuration. */
export async function lookAtAll(configs: readonly Config[]): Promise<Finding[]> {
  const [first] = configs;
  if (!first) return [];
  const database = configs.find(config => config.database)?.database;
  const redis = configs.find(config => config.redis)?.redis;
  const [databaseLook, redisFinding, workers] = await Promise.all([
    database && lookAtDatabase(database),
    redis && lookAtRedis(redis),
    lookAtWorkers(first.adminServers),
  ]);
  const nodes = await lookAtNodes(first.locations, databaseLook?.state?.markers ?? new Map());
  return [...(databaseLook?.findings ?? []), ...(redisFinding ? [redisFinding] : []), ...nodes, ...workers];
}
