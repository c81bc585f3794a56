/** Whether clients reach the registry over HTTPS, and who ends it: this process, or a proxy in front of it. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isLoopback } from './address.js';
import type { Address, HttpsConfig } from './config.js';
import type { Reader } from './reader.js';

/** What `readHttps` finds. */
export interface Https {
  readonly https: HttpsConfig | undefined;
  readonly urlScheme: 'http' | 'https' | undefined;
}

/**
 * Reads it for a gateway. As Quay has it, the certificate and its key lie beside the configuration, as `ssl.cert` and
 * `ssl.key`. `http` is where it listens without TLS.
 */
export function readHttps(reader: Reader, file: string, http: Address, opened: boolean): Https {
  const wanted = reader.take('PREFERRED_URL_SCHEME');
  const external = reader.take('EXTERNAL_TLS_TERMINATION');
  const listen = reader.take('ENTREPOT_GATEWAY_TLS_LISTEN', { host: http.host, port: 8443 });
  const folder = dirname(resolve(file));
  const paths = { cert: join(folder, 'ssl.cert'), key: join(folder, 'ssl.key') };
  const there = { cert: existsSync(paths.cert), key: existsSync(paths.key) };
  const scheme = wanted ?? (external ? 'https' : undefined);
  if (external) return { https: undefined, urlScheme: scheme };

  if (there.cert !== there.key) {
    const [has, lacks] = there.cert ? ['ssl.cert', 'ssl.key'] : ['ssl.key', 'ssl.cert'];
    reader.problems.add(join(folder, lacks), `there is ${has} but no ${lacks} beside it; HTTPS needs both`);
  } else if (wanted === 'https' && !there.cert) {
    const message = `needs a certificate: put ssl.cert and ssl.key into ${folder}, or, if a proxy in front ends TLS, set EXTERNAL_TLS_TERMINATION to true`;
    reader.mistake('PREFERRED_URL_SCHEME', message);
  }
  if (!there.cert || !there.key) return { https: undefined, urlScheme: scheme };
  if (!opened && !isLoopback(listen.host)) {
    const message =
      'other machines could reach this address, and ENTREPOT_ANONYMOUS_ACCESS does not say what they may do: ' +
      'set that to none, pull or push, name an ENTREPOT_USERS_FILE, or listen on 127.0.0.1';
    reader.mistake('ENTREPOT_GATEWAY_TLS_LISTEN', message);
  }
  return { https: { ...paths, listen }, urlScheme: scheme };
}
