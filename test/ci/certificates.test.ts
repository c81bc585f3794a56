/**
 * Two regions as an operator would secure them: certificates from `entrepot certs` on every gRPC port, HTTPS in the
 * gateways, a real client; and all certificates replaced while a push runs.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import pg from 'pg';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { issue } from '../../cli/certificates/authority.js';
import { issuedFiles, readAuthority, writeIssued } from '../../cli/certificates/folder.js';
import { type Part, type PortName, type Ports, partsOf, portNames, regions } from '../../deploy/local/topology.js';
import { migrate } from '../../lib/metadata/migrate.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import type { CertificateRole } from '../../lib/tls/identity.js';
import { attempt, run } from '../support/command.js';
import { entrepot } from '../support/entrepot.js';
import { writeLayout } from '../support/images.js';
import { sha256 } from '../support/oci-client.js';
import { freePorts } from '../support/ports.js';
import { freshDatabase } from '../support/postgres.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { soon } from '../support/wait.js';

const test = suite('certificates everywhere', { needs: ['skopeo'], timeoutMs: 60_000 });
let folder: string;
let certs: string;
let ports: Ports;
let tlsPorts: Record<string, number>;
let metricsPort: number;
let sql: pg.Pool;
const parts = new Map<PortName, StartedProcess>();

const security = (role: string, name: string) => {
  const own = join(certs, `${role}-${name}`);
  const tls = { ca: join(own, 'ca.crt'), cert: join(own, 'tls.crt'), key: join(own, 'tls.key') };
  const opened = Security.open(
    { tls, insecure: false, administrators: [], adminTokens: [] },
    pino({ level: 'silent' }),
  );
  atEnd(() => opened.close());
  return opened;
};

function certificate(...args: string[]): string {
  const { status, stdout, stderr } = entrepot(['certs', ...args, '--out', certs]);
  if (status !== 0) throw new Error(`entrepot certs ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** The same without the command, which takes a third of a second. */
async function issued(
  role: CertificateRole,
  name: string,
  hosts: string[],
  days: number,
): Promise<Record<string, string>> {
  const authority = readAuthority(certs);
  const files = issuedFiles(certs, { role, name });
  writeIssued(files, await issue(authority, { role, name, hosts, days }), authority.cert);
  return { ENTREPOT_GRPC_TLS_CA: files.ca, ENTREPOT_GRPC_TLS_CERT: files.cert, ENTREPOT_GRPC_TLS_KEY: files.key };
}

const ROLES = ['storage-proxy', 'worker', 'gateway'] as const;
const HOSTS = ['localhost', '127.0.0.1'];

/** What `entrepot certs issue` printed, as the environment of a process. */
function keysIn(printed: string): Record<string, string> {
  return Object.fromEntries(
    [...printed.matchAll(/^ {2}(ENTREPOT_\w+): (.*)$/gm)].map(([, key = '', value = '']) => [key, value]),
  );
}

async function start(part: Part, config: string, keys: Record<string, string>): Promise<void> {
  const region = part.name.endsWith('us') ? 'us' : 'eu';
  const checks: Record<Part['kind'], () => Promise<boolean>> = {
    gateway: part.isHealthy,
    worker: () => checkHealth(part.address, '', 2_000, { security: security('gateway', 'us'), role: 'worker' }),
    'storage-proxy': () =>
      checkHealth(part.address, 'entrepot.storage.write', 2_000, {
        security: security('gateway', 'us'),
        role: 'storage-proxy',
      }),
  };
  const started = await startProcess({
    name: part.name,
    script: part.script,
    config,
    env: {
      ...part.env,
      ...keys,
      ENTREPOT_GATEWAY_TLS_LISTEN: `127.0.0.1:${tlsPorts[region]}`,
      ...(part.name === 'worker-us' ? { ENTREPOT_METRICS_LISTEN: `127.0.0.1:${metricsPort}` } : {}),
    },
    ready: checks[part.kind],
  });
  parts.set(part.name, started);
}

test.before(async () => {
  folder = await temporaryFolder('secured');
  certs = join(folder, 'certs');
  certificate('init');
  const numbers = await freePorts(portNames.length + 3);
  ports = Object.fromEntries(portNames.map((name, index) => [name, numbers[index]])) as unknown as Ports;
  const [us = 0, eu = 0, metrics = 0] = numbers.slice(portNames.length);
  tlsPorts = { us, eu };
  metricsPort = metrics;
  const database = await freshDatabase();
  await migrate(database.url, pino({ level: 'silent' }));
  sql = new pg.Pool({ connectionString: database.url, max: 1 });
  sql.on('error', () => {});
  atEnd(() => sql.end());
  const conf = join(folder, 'conf');
  const config = join(conf, 'config.yaml');
  await mkdir(conf);
  for (const { location } of regions) await mkdir(join(folder, location));
  const text = {
    DB_URI: database.url,
    DISTRIBUTED_STORAGE_CONFIG: Object.fromEntries(
      regions.map(({ location }) => [location, ['LocalStorage', { storage_path: join(folder, location) }]]),
    ),
    FEATURE_STORAGE_REPLICATION: true,
    PREFERRED_URL_SCHEME: 'https',
    ENTREPOT_LOCATIONS: Object.fromEntries(
      regions.map(({ location, name }) => [location, { nodes: [`localhost:${ports[`storage-proxy-${name}`]}`] }]),
    ),
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
  };
  await writeFile(config, stringify(text));
  await issued('administrator', 'alice', [], 1);
  await issued('gateway', 'https', HOSTS, 1);
  await copyFile(join(certs, 'gateway-https', 'tls.crt'), join(conf, 'ssl.cert'));
  await copyFile(join(certs, 'gateway-https', 'tls.key'), join(conf, 'ssl.key'));
  const keys = new Map<string, Record<string, string>>();
  for (const role of ROLES) {
    const hosts = role === 'gateway' ? [] : ['--host', 'localhost', '--host', '127.0.0.1'];
    keys.set(`${role}-us`, keysIn(certificate('issue', '--role', role, '--name', 'us', ...hosts)));
    keys.set(`${role}-eu`, await issued(role, 'eu', HOSTS, 365));
  }
  for (const kind of ['storage-proxy', 'worker', 'gateway'] as const)
    await Promise.all(partsOf(kind, ports).map(part => start(part, config, keys.get(part.name) ?? {})));
});

const at = (region: string, name: string) => `docker://127.0.0.1:${tlsPorts[region]}/demo/${name}:1`;

/** skopeo with our authority as it wants it: a folder with *.crt. */
async function trusted(): Promise<string> {
  const trust = await temporaryFolder('trust');
  await copyFile(join(certs, 'ca.crt'), join(trust, 'ca.crt'));
  return trust;
}

async function replicated(): Promise<void> {
  const left = async () => assert.equal((await sql.query('select last_error from replication')).rows, []);
  await soon('the copies', left, 20_000);
}

/** The serial number of the certificate at a port. */
function shown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2', 'http/1.1'] });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
      socket.destroy();
    });
  });
}

test('push to us over HTTPS, and pull from eu, at once and once it is copied', async () => {
  const image = await writeLayout(join(folder, 'image'), { layers: [3_000_000, 5_000], seed: 'secured' });
  const trust = await trusted();
  await run('skopeo', ['copy', '--dest-cert-dir', trust, `oci:${join(folder, 'image')}:latest`, at('us', 'app')]);
  const pull = async () => {
    const to = await temporaryFolder('pulled');
    await run('skopeo', ['copy', '--src-cert-dir', trust, at('eu', 'app'), `dir:${to}`]);
    const inspected = await run('skopeo', ['inspect', '--raw', '--cert-dir', trust, at('eu', 'app')]);
    assert.is(sha256(Buffer.from(inspected)), image.digest);
  };
  await pull();
  await replicated();
  parts.get('storage-proxy-us')?.kill('SIGSTOP');
  try {
    await pull();
  } finally {
    parts.get('storage-proxy-us')?.kill('SIGCONT');
  }
  const distrustful = await attempt('skopeo', ['inspect', at('us', 'app')]);
  assert.is.not(distrustful.code, 0);
  assert.match(distrustful.stderr, 'certificate');
});

test('a wrong role is refused, and so is plain text', async () => {
  const address = `127.0.0.1:${ports['storage-proxy-us']}`;
  const describe = async (client: Security) => {
    const stub = new StorageStub(...client.dial(address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
    try {
      return (await callUnary(stub.describe.bind(stub), {})).location;
    } catch (error) {
      return String(error);
    } finally {
      stub.close();
    }
  };
  assert.is(await describe(security('worker', 'eu')), 'usstorage');
  assert.match(
    await describe(security('administrator', 'alice')),
    'the administrator alice, whom ENTREPOT_ADMINISTRATORS',
  );
  assert.match(await describe(security('storage-proxy', 'eu')), 'the storage-proxy eu may not call');
  assert.not.equal(await describe(Security.local), 'usstorage');
});

test('all certificates are replaced while a push runs: it ends well, and new connections get the new ones', async () => {
  const served: Record<string, number> = {
    'storage-proxy-us': ports['storage-proxy-us'],
    'worker-eu': ports['worker-eu'],
    'gateway-us': tlsPorts.us ?? 0,
  };
  const all = async () => JSON.stringify(await Promise.all(Object.values(served).map(shown)));
  const before = await all();
  const ca = await run('cat', [join(certs, 'ca.crt')]);
  const bytes = Buffer.alloc(4_000_000, 'x');
  const digest = sha256(bytes);
  const begun = await fetchTls('POST', '/v2/demo/app/blobs/uploads/', ca);
  const pushing = fetchTls(
    'PUT',
    `${begun.location}${begun.location.includes('?') ? '&' : '?'}digest=${digest}`,
    ca,
    async write => {
      for (let piece = 0; piece < 8; piece++) {
        write(bytes.subarray(piece * 500_000, (piece + 1) * 500_000));
        // In the middle all of them are replaced, and the rest waits until that has come about.
        if (piece === 3) {
          await replaceAll();
          await soon(
            'the new certificates',
            async () => {
              const now: string[] = JSON.parse(await all());
              for (const serial of JSON.parse(before)) assert.not.ok(now.includes(serial));
            },
            15_000,
          );
        }
        await sleep(50);
      }
    },
  );
  assert.is((await pushing).status, 201);
  await replicated();
  for (const [name, { log, isRunning }] of parts) {
    assert.ok(isRunning(), name);
    await soon(name, async () => assert.match(log(), 'the certificates were replaced'), 15_000);
    assert.not.match(log(), /cannot be used/, name);
  }
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const [, seconds] = /^entrepot_certificate_expiry_timestamp_seconds\{use="grpc"\} (\S+)$/m.exec(metrics) ?? [];
  assert.ok(Math.abs(Number(seconds) - Date.now() / 1000 - 30 * 86_400) < 600, `${seconds}`);
});

async function replaceAll(): Promise<void> {
  certificate('issue', '--role', 'worker', '--name', 'us', '--host', HOSTS.join(), '--renew', '--days', '30');
  await issued('worker', 'eu', HOSTS, 30);
  for (const role of ['storage-proxy', 'gateway'] as const) {
    for (const { name } of regions) await issued(role, name, HOSTS, 30);
  }
  await issued('gateway', 'https', HOSTS, 30);
  await copyFile(join(certs, 'gateway-https', 'tls.key'), join(folder, 'conf', 'ssl.key'));
  await copyFile(join(certs, 'gateway-https', 'tls.crt'), join(folder, 'conf', 'ssl.cert'));
}

/** A request to the gateway of us whose body is written by `send`. */
function fetchTls(
  method: string,
  path: string,
  ca: string,
  send: (write: (data: Buffer) => void) => Promise<void> = async () => {},
): Promise<{ status: number; location: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ method, path, host: '127.0.0.1', port: tlsPorts.us, ca, agent: false }, answer => {
      answer
        .resume()
        .on('end', () => resolve({ status: answer.statusCode ?? 0, location: answer.headers.location ?? '' }));
    });
    sent.on('error', reject);
    send(data => sent.write(data)).then(() => sent.end(), reject);
  });
}

test.run();
