/** How Redis is reached, as the configuration has it. */
import type { ConnectionOptions } from 'node:tls';
import type { RedisOptions } from 'ioredis';
import type { RedisConfig, RedisTls } from '../config/config.js';
import { FreshFile } from '../tls/file.js';

/** Whom to reach, and as whom. Throws, naming the file, if a certificate cannot be read. */
export function connectionOf({ host, port, db, username, password, tls }: RedisConfig): RedisOptions {
  return {
    ...{ host, port, db },
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: tlsOf(tls) } : {}),
  };
}

/** Each file is read anew whenever a connection is made. */
function tlsOf({ ca, cert, key, verified, hostChecked }: RedisTls): ConnectionOptions {
  const options: ConnectionOptions = {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: verified,
    ...(hostChecked ? {} : { checkServerIdentity: () => undefined }),
  };
  for (const [name, path, setting] of [
    ['ca', ca, 'ssl_ca_certs'],
    ['cert', cert, 'ssl_certfile'],
    ['key', key, 'ssl_keyfile'],
  ] as const) {
    if (path === undefined) continue;
    const file = new FreshFile(path, setting);
    Object.defineProperty(options, name, { get: () => file.text(), enumerable: true, configurable: true });
  }
  return options;
}
