/**
 * TLS to PostgreSQL, as libpq means it: `sslmode`, `sslrootcert`, `sslcert` and `sslkey` in the connection string. (The
 * driver takes most modes for verify-full, and reads files once.)
 */
import { connect, isIP } from 'node:net';
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import { FreshFile } from '../tls/file.js';

/** What the driver is told about one host: the connection string without what is about TLS, and that. */
export interface Connection {
  readonly connectionString: string;
  readonly ssl: false | ConnectionOptions;
}

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'];
const PARAMETERS = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey'];

/** Throws, naming the file, if one cannot be read. `url` names one host. */
export async function connectionOf(url: string, timeoutMs: number): Promise<Connection> {
  const parsed = new URL(url);
  const given = new Map(PARAMETERS.map(name => [name, parsed.searchParams.get(name) || undefined]));
  if ([...given.values()].every(value => value === undefined)) return { connectionString: url, ssl: false };
  for (const name of PARAMETERS) parsed.searchParams.delete(name);
  const connectionString = parsed.href;
  const host = (parsed.searchParams.get('host') ?? parsed.hostname).replace(/^\[|\]$/g, '');
  const port = Number(parsed.searchParams.get('port') ?? (parsed.port || 5432));
  const root = given.get('sslrootcert');
  const mode = given.get('sslmode') ?? 'prefer';
  if (!MODES.includes(mode)) throw new Error(`sslmode must be one of ${MODES.join(', ')}`);
  if (mode === 'disable' || mode === 'allow' || host.startsWith('/')) return { connectionString, ssl: false };
  if (mode === 'prefer' && !(await offersTls(host, port, timeoutMs))) return { connectionString, ssl: false };

  const ca = root === undefined || root === 'system' ? undefined : new FreshFile(root, 'sslrootcert');
  const [cert, key] = (['sslcert', 'sslkey'] as const).map(name => {
    const path = given.get(name);
    return path === undefined ? undefined : new FreshFile(path, name);
  });
  const isVerified = mode.startsWith('verify-') || (mode === 'require' && ca !== undefined);
  const ssl: ConnectionOptions = {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: isVerified,
    // The driver does not tell the TLS library of a host that is an IP address: it would look for another name.
    checkServerIdentity: (_host, certificate) =>
      mode === 'verify-full' ? checkServerIdentity(host, certificate) : undefined,
    ...(isIP(host) === 0 ? { servername: host } : {}),
  };
  addFresh(ssl, 'ca', ca);
  addFresh(ssl, 'cert', cert);
  addFresh(ssl, 'key', key);
  return { connectionString, ssl };
}

/** The driver asks for each of these anew whenever it connects. */
function addFresh(options: ConnectionOptions, name: 'ca' | 'cert' | 'key', file: FreshFile | undefined): void {
  if (file) Object.defineProperty(options, name, { get: () => file.text(), enumerable: true, configurable: true });
}

/** PostgreSQL's SSLRequest: a server answers it with S or N. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

function offersTls(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(timeoutMs, () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    socket.once('connect', () => socket.write(SSL_REQUEST));
    socket.once('error', reject);
    socket.once('close', () => reject(Object.assign(new Error('Connection terminated'), { code: 'ECONNRESET' })));
    socket.once('data', answer => {
      resolve(answer[0] === 0x53);
      socket.destroy();
    });
  });
}

const CODES =
  /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/;

/** Whether no connection came about because the other side is not (or cannot show that it is) the one that is meant. */
export function isTlsFailure(error: Error): boolean {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return CODES.test(code) || /server does not support SSL connections/.test(error.message);
}
