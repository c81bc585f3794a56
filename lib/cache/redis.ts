/** Redis, as a cache and to tell others, that may vanish at any time: every method answers soon and none ever fails. */
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { RedisConfig } from '../config/config.js';
import { connectionOf } from './connection.js';

/** A request that waits for Redis would rather do without it. */
const COMMAND_TIMEOUT_MS = 50;
const RECONNECT_MOST_MS = 5_000;

export class RedisCache {
  readonly #redis: Redis;

  /** `timeoutMs`: how long a command may take, 50 ms if absent; more where nobody waits and Redis may be far away. */
  constructor(config: RedisConfig, log: Logger, { timeoutMs = COMMAND_TIMEOUT_MS } = {}) {
    this.#redis = new Redis({
      ...connectionOf(config),
      // Without a connection a command fails at once, instead of waiting for one.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      commandTimeout: timeoutMs,
      // A server that hangs is given up, with what was sent to it: that would pile up here for as long as it hangs.
      socketTimeout: Math.max(1_000, timeoutMs),
      connectTimeout: 2_000,
      keepAlive: 10_000,
      retryStrategy: attempt => Math.min(attempt * 200, RECONNECT_MOST_MS) * (0.5 + Math.random()),
    });
    let away = false;
    this.#redis.on('error', error => {
      if (!away) log.warn({ err: error }, 'Redis cannot be reached; everything goes on without it');
      away = true;
    });
    this.#redis.on('ready', () => {
      if (away) log.info('Redis is back');
      away = false;
    });
  }

  /** The value, or undefined if there is none or Redis does not answer. */
  async get(key: string): Promise<Buffer | undefined> {
    try {
      return (await this.#redis.getBuffer(key)) ?? undefined;
    } catch {
      return undefined;
    }
  }

  /** Sets the value, some time or never. */
  set(key: string, value: Buffer, ttlSeconds: number): void {
    this.#redis.set(key, value, 'EX', ttlSeconds).catch(() => {});
  }

  /** Runs a script, which is one step for everybody else; undefined if Redis does not do it. */
  async run(script: string, keys: readonly string[], parameters: readonly (string | number)[] = []): Promise<unknown> {
    try {
      return await this.#redis.eval(script, keys.length, ...keys, ...parameters);
    } catch {
      return undefined;
    }
  }

  /** Tells those who listen on a channel now, if any; false if Redis does not take it. */
  async publish(channel: string, message: string): Promise<boolean> {
    try {
      await this.#redis.publish(channel, message);
      return true;
    } catch {
      return false;
    }
  }

  /** Whether Redis answers now. */
  async answers(): Promise<boolean> {
    try {
      return (await this.#redis.ping()) === 'PONG';
    } catch {
      return false;
    }
  }

  close(): void {
    this.#redis.disconnect();
  }
}
