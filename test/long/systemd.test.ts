/**
 * The units under a real systemd: started, hardened as they say, started again after a kill, and stopped in order.
 *
 * That systemd is the first process of a container whose /usr is this machine's, so it is this machine's systemd and
 * Node.js. The container has all privileges, which systemd needs to take them away from the units.
 */
import { chmod, chown, copyFile, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { migrate } from '../../lib/metadata/migrate.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { attempt, run } from '../support/command.js';
import { containersSettings } from '../support/containers.js';
import { ociClient } from '../support/oci-client.js';
import { freePorts } from '../support/ports.js';
import { freshDatabase } from '../support/postgres.js';
import { distFolder } from '../support/process.js';
import { digestOf, someBytes } from '../support/pushes.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { soon } from '../support/wait.js';

const test = suite('systemd', { needs: ['systemd', 'podman', 'runc'], timeoutMs: 120_000, fileTimeoutMs: 300_000 });

const project = resolve(distFolder, '..');
const ROLES = ['storage-proxy', 'worker', 'gateway'] as const;
const GROUP = 990;

let http: number;
/** Runs a program in the container. */
let inside: (...words: string[]) => Promise<string>;

test.before(async () => {
  const folder = await temporaryFolder('systemd');
  const env = await containersSettings(folder, 'runc');
  const root = join(folder, 'root');
  const inRoot = (path: string) => join(root, path);
  for (const path of [
    'etc/systemd/system',
    'etc/entrepot',
    'proc',
    'sys',
    'dev',
    'run',
    'tmp',
    'var/lib',
    'opt',
    'usr',
  ])
    await mkdir(inRoot(path), { recursive: true });
  for (const path of ['bin', 'lib', 'lib64', 'sbin']) await symlink(`usr/${path}`, inRoot(path));
  const users = [
    'root:x:0:0',
    'nobody:x:65534:65534',
    `entrepot:x:990:${GROUP}`,
    `entrepot-storage-proxy:x:991:${GROUP}`,
  ];
  await writeFile(inRoot('etc/passwd'), users.map(user => `${user}::/:/usr/sbin/nologin\n`).join(''));
  await writeFile(inRoot('etc/group'), `root:x:0:\nnogroup:x:65534:\nentrepot:x:${GROUP}:\n`);
  await writeFile(inRoot('etc/machine-id'), '');
  const units = join(project, 'deploy', 'systemd');
  for (const name of await readdir(units)) await copyFile(join(units, name), inRoot(`etc/systemd/system/${name}`));

  const database = await freshDatabase();
  await migrate(database.url, createLogger({ name: 'test', level: 'silent' }));
  const [proxy, worker, gateway] = (await freePorts(3)) as [number, number, number];
  http = gateway;
  const config = {
    DB_URI: database.url,
    DISTRIBUTED_STORAGE_CONFIG: { eustorage: ['LocalStorage', { storage_path: '/var/lib/entrepot' }] },
    ENTREPOT_LOCATIONS: { eustorage: { nodes: [`127.0.0.1:${proxy}`] } },
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
    ENTREPOT_STORAGE_PROXY_LISTEN: `127.0.0.1:${proxy}`,
    ENTREPOT_WORKER_LISTEN: `127.0.0.1:${worker}`,
    ENTREPOT_GATEWAY_LISTEN: `127.0.0.1:${gateway}`,
  };
  const file = inRoot('etc/entrepot/config.yaml');
  await writeFile(file, stringify(config));
  await chown(file, 0, GROUP);
  await chmod(file, 0o640);
  for (const role of ROLES)
    await writeFile(inRoot(`etc/entrepot/${role}.env`), 'QUAY_DISTRIBUTED_STORAGE_PREFERENCE=eustorage\n');

  const podman = (...words: string[]) => run('podman', words, { env });
  atEnd(() => attempt('podman', ['rm', '--all', '--force', '--time', '0'], { env }));
  await podman(
    ...['run', '--detach', '--name', 'machine', '--systemd=always', '--privileged', '--network', 'host'],
    ...['-v', '/usr:/usr:ro', '-v', `${project}:/opt/entrepot:ro`],
    ...['--rootfs', root, '/lib/systemd/systemd', '--unit=basic.target'],
  );
  inside = (...words) => podman('exec', 'machine', ...words);
  await soon(
    'systemd',
    async () => assert.is((await inside('systemctl', 'is-system-running')).trim(), 'running'),
    30_000,
  );
});

const unitOf = (role: string) => `entrepot-${role}.service`;
const show = async (role: string, property: string) =>
  (await inside('systemctl', 'show', '--value', '--property', property, unitOf(role))).trim();

async function serves(): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${http}/health/warning`);
  assert.is(answer.status, 200, await answer.text());
}

test('they start, and serve', async () => {
  await inside('systemctl', 'start', ...ROLES.map(unitOf));
  await soon('a gateway with its store', serves, 60_000);
  for (const role of ROLES) assert.is(await show(role, 'ActiveState'), 'active', role);
  const client = ociClient(`http://127.0.0.1:${http}`);
  atEnd(() => client.close());
  const bytes = someBytes(3_000_000);
  const digest = await client.pushBlob('by/systemd', bytes);
  assert.is(digestOf(await client.pullBlob('by/systemd', digest)), digest);
});

test('they run as they are hardened: another user, no capability, no new privileges, few system calls', async () => {
  for (const role of ROLES) {
    const status = await inside('cat', `/proc/${await show(role, 'MainPID')}/status`);
    const uid = role === 'storage-proxy' ? 991 : 990;
    assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s`, 'm'), role);
    assert.match(status, /^CapBnd:\s+0+$/m, role);
    assert.match(status, /^NoNewPrivs:\s+1$/m, role);
    assert.match(status, /^Seccomp:\s+2$/m, role);
  }
});

test('one that dies is started again', async () => {
  const before = await show('gateway', 'MainPID');
  await inside('systemctl', 'kill', '--signal', 'KILL', unitOf('gateway'));
  await soon('another process', async () => assert.not.equal(await show('gateway', 'MainPID'), before), 20_000);
  await soon('a gateway', serves, 60_000);
});

test('they stop in order', async () => {
  await inside('systemctl', 'stop', ...ROLES.map(unitOf));
  for (const role of ROLES) {
    const end = [await show(role, 'ActiveState'), await show(role, 'Result'), await show(role, 'ExecMainStatus')];
    assert.equal(end, ['inactive', 'success', '0'], role);
  }
});

test.run();
