/** The image, as operators run it: every role in a container of its own, with certificates that it has made itself. */
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { soon } from '../contract/bytes.js';
import { run } from '../support/command.js';
import { buildImage, IMAGE_NEEDS, type Image } from '../support/image.js';
import { writeLayout } from '../support/images.js';
import { sha256 } from '../support/oci-client.js';
import { freePorts } from '../support/ports.js';
import { freshDatabase } from '../support/postgres.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const test = suite('the image', { needs: [...IMAGE_NEEDS, 'skopeo'], timeoutMs: 200_000, fileTimeoutMs: 400_000 });

const ROLES = ['storage-proxy', 'worker', 'gateway'] as const;
let image: Image;
let folder: string;
let httpsPort: number;
/** What stands before the image's name to give a container its configuration. */
let options: (role: (typeof ROLES)[number]) => string[];

test.before(async () => {
  image = await buildImage();
  folder = await temporaryFolder('deployed');
  const [proxy, worker, http, https] = (await freePorts(4)) as [number, number, number, number];
  httpsPort = https;
  const database = await freshDatabase();
  const made = (name: string) => join(folder, name);
  for (const name of ['conf', 'certs', 'data']) await mkdir(made(name));
  // The container's user is nobody here.
  for (const name of ['certs', 'data']) await chmod(made(name), 0o777);
  await mkdir(join(made('conf'), 'grpc'));
  const config = {
    DB_URI: database.url,
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
  for (const role of ROLES) await certs('issue', '--role', role, '--name', 'eu', '--host', 'localhost');
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
  assert.match(absent.stderr, 'cannot do its work now, or does not run');
});

test('every role runs as any user upon a read-only root, and says that it is well', async () => {
  await image.start('storage-proxy', options('storage-proxy'), 'storage-proxy');
  await image.start('worker', options('worker'), 'worker');
  // Without a word it is a gateway.
  await image.start('gateway', options('gateway'));
  for (const role of ROLES) await soon(role, () => isHealthy(role), 20_000);
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

test('each ends in order when it is told to', async () => {
  const stop = async (role: string) => {
    await image.podman('stop', '--time', '20', role);
    const { stdout: exitCode } = await image.podman('inspect', '--format', '{{.State.ExitCode}}', role);
    const { stdout: log } = await image.podman('logs', role);
    assert.is(exitCode.trim(), '0', `${role}\n${log}`);
    assert.match(log, '"msg":"stopped"');
  };
  await Promise.all(ROLES.map(stop));
});

test.run();
