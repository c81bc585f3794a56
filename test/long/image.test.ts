/** The image, as operators run it: every role in a container of its own, with certificates that it has made itself. */
import { once } from 'node:events';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { run } from '../support/command.js';
import { buildImage, IMAGE, IMAGE_NEEDS, type Image } from '../support/image.js';
import { writeLayout } from '../support/images.js';
import { sha256 } from '../support/oci-client.js';
import { freePort, freePorts } from '../support/ports.js';
import { freshDatabase } from '../support/postgres.js';
import { distFolder } from '../support/process.js';
import { startRelay } from '../support/relay.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { soon } from '../support/wait.js';

const test = suite('the image', {
  needs: [...IMAGE_NEEDS, 'netavark', 'skopeo'],
  timeoutMs: 300_000,
  fileTimeoutMs: 900_000,
});

const ROLES = ['storage-proxy', 'worker', 'gateway'] as const;
/** What a container calls the machine that it runs on. */
const MACHINE = 'host.containers.internal';

let image: Image;
let folder: string;
let databaseUrl: string;
let proxyPort: number;
let config: Record<string, unknown>;
let httpsPort: number;
/** What stands before the image's name to give a container its configuration. */
let options: (role: (typeof ROLES)[number]) => string[];

test.before(async () => {
  image = await buildImage();
  folder = await temporaryFolder('deployed');
  const [proxy, worker, http, https] = (await freePorts(4)) as [number, number, number, number];
  [httpsPort, proxyPort] = [https, proxy];
  databaseUrl = (await freshDatabase()).url;
  const made = (name: string) => join(folder, name);
  for (const name of ['conf', 'certs', 'data']) await mkdir(made(name));
  // The container's user is nobody here.
  for (const name of ['certs', 'data']) await chmod(made(name), 0o777);
  await mkdir(join(made('conf'), 'grpc'));
  config = {
    DB_URI: databaseUrl,
    DISTRIBUTED_STORAGE_CONFIG: {
      usstorage: ['LocalStorage', { storage_path: '/data' }],
      eustorage: ['LocalStorage', { storage_path: '/data' }],
    },
    FEATURE_STORAGE_REPLICATION: true,
    ENTREPOT_LOCATIONS: { usstorage: { nodes: ['localhost:1'] }, eustorage: { nodes: [`localhost:${proxy}`] } },
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
    ENTREPOT_GATEWAY_LISTEN: `0.0.0.0:${http}`,
    ENTREPOT_GATEWAY_TLS_LISTEN: `0.0.0.0:${https}`,
    ENTREPOT_STORAGE_PROXY_LISTEN: `0.0.0.0:${proxy}`,
    ENTREPOT_WORKER_LISTEN: `0.0.0.0:${worker}`,
    ENTREPOT_GRPC_TLS_CA: '/conf/stack/grpc/ca.crt',
    ENTREPOT_GRPC_TLS_CERT: '/conf/stack/grpc/tls.crt',
    ENTREPOT_GRPC_TLS_KEY: '/conf/stack/grpc/tls.key',
  };
  await writeFile(join(made('conf'), 'config.yaml'), stringify(config));

  const certs = async (...words: string[]) => {
    const end = await image.run(['-v', `${made('certs')}:/certs`], 'entrepot', 'certs', ...words, '--out', '/certs');
    if (end.code !== 0) throw new Error(`certs ${words.join(' ')}: ${end.stdout}${end.stderr}`);
  };
  await certs('init');
  for (const role of ROLES) await certs('issue', '--role', role, '--name', 'eu', '--host', `localhost,${MACHINE}`);
  for (const [from, to] of [['tls.crt', 'ssl.cert'] as const, ['tls.key', 'ssl.key'] as const]) {
    await copyFile(join(made('certs'), 'gateway-eu', from), join(made('conf'), to));
    await chmod(join(made('conf'), to), 0o644);
  }
  options = role => [
    ...['-v', `${made('conf')}:/conf/stack:ro`, '-v', `${join(made('certs'), `${role}-eu`)}:/conf/stack/grpc:ro`],
    ...['-v', `${made('data')}:/data`, '-e', 'QUAY_DISTRIBUTED_STORAGE_PREFERENCE=eustorage'],
  ];
});

const isHealthy = async (role: string) => {
  const end = await image.podman('healthcheck', 'run', role);
  const { stdout, stderr } = await image.podman('logs', role);
  assert.is(end.code, 0, `${role}: ${end.stdout}${end.stderr}\n${stdout}${stderr}`);
};

test('it is any command of entrepot', async () => {
  assert.match((await image.run([], '--version')).stdout, /^\d+\.\d+\.\d+\n$/);
  const unknown = await image.run([], 'gatewy');
  assert.is(unknown.code, 2);
  assert.match(unknown.stderr, 'there is no command gatewy');
  const migrated = await image.run(options('gateway'), 'migrate');
  assert.is(migrated.code, 0, migrated.stderr);
  const absent = await image.run(options('gateway'), 'health', 'gateway');
  assert.is(absent.code, 1);
  assert.match(absent.stderr, 'does not answer');
});

test('every role runs as any user upon a read-only root, and says that it is well', async () => {
  await image.start('storage-proxy', options('storage-proxy'), 'storage-proxy');
  await image.start('worker', options('worker'), 'worker');
  // Without a word it is a gateway.
  await image.start('gateway', options('gateway'));
  for (const role of ROLES) await soon(role, () => isHealthy(role), 90_000);
});

test('an image is pushed and pulled over HTTPS', async () => {
  const pushed = await writeLayout(join(folder, 'layout'), { layers: [3_000_000, 5_000], seed: 'in a container' });
  const trust = await temporaryFolder('trust');
  await copyFile(join(folder, 'certs', 'ca.crt'), join(trust, 'ca.crt'));
  const name = `docker://localhost:${httpsPort}/demo/app:1`;
  await run('skopeo', ['copy', '--dest-cert-dir', trust, `oci:${join(folder, 'layout')}:latest`, name]);
  await run('skopeo', ['copy', '--src-cert-dir', trust, name, `dir:${join(folder, 'pulled')}`]);
  const manifest = await run('skopeo', ['inspect', '--raw', '--cert-dir', trust, name]);
  assert.is(sha256(Buffer.from(manifest)), pushed.digest);
});

/** The line of docs/deploy.md for a gateway, which is Quay's: its words after `podman run`, and before the image's name. */
async function documentedOptions(bundle: string): Promise<{ words: string[]; http: number; https: number }> {
  const page = await readFile(join(resolve(distFolder, '..'), 'docs', 'deploy.md'), 'utf8');
  const line = /^\$ podman run (-p 80:8080 -p 443:8443 -v DIR:\/conf\/stack -e \S+=eustorage) IMAGE$/m.exec(page)?.[1];
  assert.ok(line, 'docs/deploy.md does not have the line any more');
  // Somebody else may have them on this machine; then, and only then, it is other ones.
  const [http, https] = [await orFree(80), await orFree(443)];
  const words = line.replace('80:', `${http}:`).replace('443:', `${https}:`).replace('DIR', bundle).split(' ');
  return { words, http, https };
}

async function orFree(port: number): Promise<number> {
  const server = createServer().listen(port, '0.0.0.0');
  try {
    await once(server, 'listening');
    return port;
  } catch {
    const other = await freePort();
    console.log(`  port ${port} is taken here: tried with ${other}`);
    return other;
  } finally {
    server.close();
  }
}

test("the documented line, Quay's, works as it stands", async () => {
  // The container has a network of its own, so it finds the machine's database and storage-proxy by the machine's name.
  const relay = await startRelay('0.0.0.0');
  relay.target = Number(new URL(databaseUrl).port);
  const database = new URL(databaseUrl);
  database.host = `${MACHINE}:${relay.port}`;
  const bundle = join(folder, 'bundle');
  await mkdir(join(bundle, 'grpc'), { recursive: true });
  const { ENTREPOT_GATEWAY_LISTEN: _1, ENTREPOT_GATEWAY_TLS_LISTEN: _2, ...rest } = config;
  const nodes = { usstorage: { nodes: ['localhost:1'] }, eustorage: { nodes: [`${MACHINE}:${proxyPort}`] } };
  await writeFile(
    join(bundle, 'config.yaml'),
    stringify({ ...rest, DB_URI: String(database), ENTREPOT_LOCATIONS: nodes }),
  );
  const own = join(folder, 'certs', 'gateway-eu');
  for (const [from, to] of [
    ['tls.crt', 'ssl.cert'],
    ['tls.key', 'ssl.key'],
    ['ca.crt', 'grpc/ca.crt'],
    ['tls.crt', 'grpc/tls.crt'],
    ['tls.key', 'grpc/tls.key'],
  ] as const) {
    await copyFile(join(own, from), join(bundle, to));
    await chmod(join(bundle, to), 0o644);
  }
  const { words, http, https } = await documentedOptions(bundle);
  const started = await image.podman('run', '--detach', '--name', 'documented', ...words, IMAGE);
  assert.is(started.code, 0, started.stderr);
  await soon('documented', () => isHealthy('documented'), 90_000);
  const answer = await fetch(`http://localhost:${http}/health/instance`);
  assert.is(answer.status, 200);
  assert.is(JSON.parse(await answer.text()).data.informational.preferred_storage, true);
  const trust = await temporaryFolder('trust');
  await copyFile(join(folder, 'certs', 'ca.crt'), join(trust, 'ca.crt'));
  const name = `docker://localhost:${https}/demo/app:1`;
  await run('skopeo', ['copy', '--src-cert-dir', trust, name, `dir:${join(folder, 'pulled-by-port')}`]);
  await stop('documented');
});

/** Ends a container as an operator would, and sees that it did so in order. */
async function stop(name: string): Promise<void> {
  await image.podman('stop', '--time', '75', name);
  const { stdout: exitCode } = await image.podman('inspect', '--format', '{{.State.ExitCode}}', name);
  const { stdout: log } = await image.podman('logs', name);
  assert.is(exitCode.trim(), '0', `${name}\n${log}`);
  assert.match(log, '"msg":"stopped"');
}

test('each ends in order when it is told to', async () => {
  await Promise.all(ROLES.map(stop));
});

test.run();
