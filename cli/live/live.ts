/** Looks at everything that a configuration names: the users file, the database, Redis, every storage-proxy with its store, workers. */
import { pino } from 'pino';
import type { Config } from '../../lib/config/config.js';
import { Security } from '../../lib/rpc/security.js';
import { reasonOf } from '../output/reason.js';
import { lookAtDatabase } from './database.js';
import { bad, type Finding } from './finding.js';
import { lookAtNodes, lookAtWorkers } from './nodes.js';
import { lookAtRedis } from './redis.js';
import { lookAtUsers } from './users.js';

/** `configs`: what the processes that are checked for have as their configuration. */
export async function lookAtAll(configs: readonly Config[]): Promise<Finding[]> {
  const [first] = configs;
  if (!first) return [];
  const database = configs.find(config => config.database)?.database;
  const redis = configs.find(config => config.redis)?.redis;
  const [databaseLook, redisFinding] = await Promise.all([
    database && lookAtDatabase(database),
    redis && lookAtRedis(redis),
  ]);
  const others = await lookAtProcesses(first, databaseLook?.state?.markers ?? new Map());
  const users = configs.flatMap(({ signIn, libraryNamespace }) =>
    signIn ? [lookAtUsers(signIn, libraryNamespace)] : [],
  );
  return [...users, ...(databaseLook?.findings ?? []), ...(redisFinding ? [redisFinding] : []), ...others];
}

async function lookAtProcesses(config: Config, markers: ReadonlyMap<string, string>): Promise<Finding[]> {
  let security: Security;
  try {
    security = Security.open(config.grpc, pino({ level: 'silent' }));
  } catch (error) {
    return [bad('certificates', 'ENTREPOT_GRPC_TLS_CERT (and …_KEY, …_CA)', reasonOf(error))];
  }
  try {
    const looks = [lookAtNodes(config.locations, markers, security), lookAtWorkers(config.adminServers, security)];
    return (await Promise.all(looks)).flat();
  } finally {
    await security.close();
  }
}
