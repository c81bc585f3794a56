/** Whether Redis answers. */
import { inspectRedis } from '../../lib/cache/inspect.js';
import type { RedisConfig } from '../../lib/config/config.js';
import { reasonOf } from '../output/reason.js';
import { bad, type Finding, good } from './finding.js';

export async function lookAtRedis(config: RedisConfig): Promise<Finding> {
  try {
    return good('Redis', `${(await inspectRedis(config)) || 'it'} answers`);
  } catch (error) {
    const where = `${config.host}:${config.port}`;
    return bad('Redis', 'USER_EVENTS_REDIS (or BUILDLOGS_REDIS)', `${where}: ${reasonOf(error)}`);
  }
}
