/** Redis with TLS and a password, as Quay's keys name it: a real server. */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { inspectRedis } from '../../lib/cache/inspect.js';
import { RedisCache } from '../../lib/cache/redis.js';
import type { RedisConfig } from '../../lib/config/config.js';
import { TestAuthority } from '../support/certificates.js';
import { load, mistakes, TWO_LOCATIONS } from '../support/config.js';
import { startRedis } from '../support/redis.js';
import { atEnd, suite } from '../support/suite.js';
import { soon } from '../support/wait.js';

const test = suite('cache: Redis with TLS', { needs: ['redis-server'] });
let ours: TestAuthority;
let port: number;
const PASSWORD = 'secret of redis';

test.before(async () => {
  ours = await TestAuthority.make();
  const files = await ours.files('gateway', 'redis', ['localhost']);
  ({ port } = await startRedis(undefined, { ...files, password: PASSWORD }));
});

interface Reached {
  readonly config: RedisConfig;
  readonly cache: RedisCache;
  readonly lines: readonly string[];
}

/** A cache as a config.yaml says it. */
function cacheOf(fields: string, password = PASSWORD): Reached {
  const text = `${TWO_LOCATIONS}\nUSER_EVENTS_REDIS: {port: ${port}, password: ${password}, ${fields}}\n`;
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const config = load(text).redis as RedisConfig;
  const cache = new RedisCache(config, log, { timeoutMs: 1_000 });
  atEnd(() => cache.close());
  return { config, cache, lines };
}

/** Also for `config check --live`, which looks at it before any process does. */
async function works({ config, cache }: Reached): Promise<void> {
  await soon('Redis', async () => {
    cache.set('key', Buffer.from('value'), 60);
    assert.equal(await cache.get('key'), Buffer.from('value'));
  });
  assert.match(await inspectRedis(config), /^\d+\./);
}

async function fails({ config, cache, lines }: Reached, why: RegExp): Promise<void> {
  await soon('the failure', async () => assert.match(lines.join(), why));
  assert.is(await cache.get('key'), undefined);
  const seen = await inspectRedis(config).catch(error => error);
  assert.instance(seen, Error);
}

test('the right authority, host and password: it works', async () => {
  await works(cacheOf(`host: localhost, ssl: true, ssl_ca_certs: ${join(ours.folder, 'gateway-redis/ca.crt')}`));
});

test('another authority, another host, another password, or no TLS: it does not', async () => {
  const other = await (await TestAuthority.make()).files('gateway', 'redis');
  const right = `ssl_ca_certs: ${join(ours.folder, 'gateway-redis/ca.crt')}`;
  await fails(cacheOf(`host: localhost, ssl: true, ssl_ca_certs: ${other.ca}`), /certificate/);
  await fails(cacheOf('host: localhost, ssl: true'), /certificate/);
  await fails(cacheOf(`host: 127.0.0.1, ssl: true, ${right}`), /altnames|cert's list/);
  await works(cacheOf(`host: 127.0.0.1, ssl: true, ${right}, ssl_check_hostname: false`));
  await works(cacheOf('host: 127.0.0.1, ssl: true, ssl_cert_reqs: none'));
  await fails(cacheOf(`host: localhost, ssl: true, ${right}`, 'wrong'), /WRONGPASS|invalid username-password/);
  await fails(cacheOf('host: localhost'), /Redis cannot be reached/);
});

test('an authority that is replaced is used at the next connection', async () => {
  const file = join(ours.folder, 'current.crt');
  await copyFile((await (await TestAuthority.make()).files('gateway', 'redis')).ca, file);
  const cache = cacheOf(`host: localhost, ssl: true, ssl_ca_certs: ${file}`);
  await fails(cache, /certificate/);
  await writeFile(file, ours.authority.cert);
  await works(cache);
});

test('mistakes', () => {
  const of = (fields: string) =>
    mistakes(`${TWO_LOCATIONS}\nUSER_EVENTS_REDIS: {host: r, ssl: true, ${fields}}\n`).join();
  assert.match(of('ssl_certfile: /a'), /ssl_certfile and ssl_keyfile are given together/);
  assert.match(of('ssl_cert_reqs: maybe'), /must be required, optional or none/);
  const gone = load(`${TWO_LOCATIONS}\nUSER_EVENTS_REDIS: {host: r, ssl: true, ssl_ca_certs: /no/such/file}\n`).redis;
  assert.throws(() => new RedisCache(gone as RedisConfig, pino({ level: 'silent' })), /\/no\/such\/file.*ssl_ca_certs/);
});

test.run();
