/** Signing in with the clients that people have: whoever may, can; whoever may not is told what clients understand. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { OCI_SUITE, runSuite } from '../conformance/oci-suite.js';
import { attempt, run } from '../support/command.js';
import { startContainerd } from '../support/containerd.js';
import { type Docker, startDocker } from '../support/docker.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { writeLayout } from '../support/images.js';
import { preparePodman } from '../support/podman.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { accounts, writeUsers } from '../support/users.js';

const test = suite('sign-in by real clients', {
  needs: ['docker', 'podman', 'skopeo', 'containerd'],
  timeoutMs: 60_000,
  fileTimeoutMs: 240_000,
});

const people = {
  alice: { password: 'pass: of + alice', push: ['team/*'] },
  'team+robot': { password: 'R0B0T', pull: ['team/*'] },
  cleaner: { password: 'cleaner', delete: ['team/*'] },
  tester: { password: 'tester', push: ['conformance/*'], delete: ['conformance/*'] },
} as const;

let stack: GatewayStack;
let host: string;
let open: string;
let layout: string;

test.before(async () => {
  stack = await startGatewayStack({
    config: { ...accounts(await writeUsers(people)), ENTREPOT_ANONYMOUS_ACCESS: 'none', ENTREPOT_SPARSE_IMAGES: true },
  });
  host = `127.0.0.1:${stack.port}`;
  open = `127.0.0.1:${(await stack.startGateway({ ENTREPOT_ANONYMOUS_ACCESS: 'pull' })).port}`;
  layout = join(await temporaryFolder('layout'), 'image');
  await writeLayout(layout, { layers: [50_000, 10], seed: 'sign-in' });
});

const creds = (name: keyof typeof people) => `${name}:${people[name].password}`;
const skopeo = (...parameters: string[]) => attempt('skopeo', parameters);
const pushBy = (credentials: string, name: string) =>
  skopeo('copy', '--dest-tls-verify=false', '--dest-creds', credentials, `oci:${layout}:latest`, `docker://${name}`);

test('skopeo: pushes, is refused, lists, and deletes', async () => {
  const name = `${host}/team/skopeo:1`;
  assert.is((await pushBy(creds('alice'), name)).code, 0);
  const denied = await pushBy(creds('team+robot'), name);
  assert.is.not(denied.code, 0);
  assert.match(denied.stderr, /denied/i);
  const wrong = await pushBy('alice:wrong', name);
  assert.is.not(wrong.code, 0);
  assert.match(wrong.stderr, /unauthorized|invalid username\/password/i);
  const nobody = await skopeo('copy', '--dest-tls-verify=false', `oci:${layout}:latest`, `docker://${name}`);
  assert.is.not(nobody.code, 0);
  const inspect = (credentials: string) =>
    skopeo('inspect', '--tls-verify=false', '--creds', credentials, `docker://${name}`);
  assert.is((await inspect(creds('team+robot'))).code, 0);
  const tags = await skopeo(
    'list-tags',
    '--tls-verify=false',
    '--creds',
    creds('team+robot'),
    `docker://${host}/team/skopeo`,
  );
  assert.match(tags.stdout, '"1"');
  const remove = (credentials: string) =>
    skopeo('delete', '--tls-verify=false', '--creds', credentials, `docker://${name}`);
  assert.is.not((await remove(creds('alice'))).code, 0);
  assert.is((await remove(creds('cleaner'))).code, 0);
  assert.is.not((await inspect(creds('team+robot'))).code, 0);
});

test('skopeo copies between two repositories with one account, and mounts what is there', async () => {
  assert.is((await pushBy(creds('alice'), `${host}/team/from:1`)).code, 0);
  const both = [
    '--src-tls-verify=false',
    '--dest-tls-verify=false',
    '--src-creds',
    creds('alice'),
    '--dest-creds',
    creds('alice'),
  ];
  const copied = await skopeo('copy', ...both, `docker://${host}/team/from:1`, `docker://${host}/team/to:1`);
  assert.is(copied.code, 0, copied.stderr);
});

test('docker: login, push, a refused push, logout, and a pull where that is open', async () => {
  const docker = await startDocker();
  const login = (name: string, password: string) =>
    docker.attempt('login', '--username', name, '--password', password, host);
  const wrong = await login('alice', 'wrong');
  assert.is.not(wrong.code, 0);
  assert.match(wrong.stderr, /unauthorized/);
  assert.is((await login('alice', people.alice.password)).code, 0);
  await docker.load(`${host}/team/docker:1`, { layers: [20_000, 30], seed: 'docker' });
  const digest = await docker.push(`${host}/team/docker:1`);
  await docker.run('tag', `${host}/team/docker:1`, `${host}/team/docker2:1`);
  assert.match(await docker.run('push', `${host}/team/docker2:1`), /Mounted from team\/docker/);
  // After the other one: it forgets where layers are that could not be mounted.
  await docker.run('tag', `${host}/team/docker:1`, `${host}/foreign/docker:1`);
  const foreign = await docker.attempt('push', `${host}/foreign/docker:1`);
  assert.is.not(foreign.code, 0);
  assert.match(foreign.stderr, /denied: alice may not push to foreign\/docker/);

  assert.is((await login('team+robot', people['team+robot'].password)).code, 0);
  const refused = await docker.attempt('push', `${host}/team/docker:1`);
  assert.is.not(refused.code, 0);
  assert.match(refused.stderr, /denied: team\+robot may not push/);
  await docker.forget();
  assert.is((await docker.pull(`${host}/team/docker:1`)).digest, digest);

  await docker.run('logout', host);
  await docker.forget();
  assert.is.not((await docker.attempt('pull', `${host}/team/docker:1`)).code, 0);
  assert.is((await docker.pull(`${open}/team/docker:1`)).digest, digest);
  const nobody = await docker.attempt('push', `${open}/team/docker:1`);
  assert.is.not(nobody.code, 0);
  assert.match(nobody.stdout + nobody.stderr, /no basic auth credentials|unauthorized|denied/);
  await pullSecret(docker, digest);
});

/** What Kubernetes keeps of a registry, as `kubectl create secret docker-registry` writes it. */
async function pullSecret(docker: Docker, digest: string): Promise<void> {
  const folder = join(await temporaryFolder('secret'), 'config');
  await mkdir(folder);
  const auth = Buffer.from(creds('team+robot')).toString('base64');
  await writeFile(join(folder, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
  await docker.forget();
  assert.match(await docker.run('--config', folder, 'pull', `${host}/team/docker:1`), digest);
  const file = join(folder, 'config.json');
  await run('skopeo', ['inspect', '--tls-verify=false', '--authfile', file, `docker://${host}/team/docker:1`]);
}

test('podman: login, push, a refused push, search, logout', async () => {
  const podman = await preparePodman();
  const login = (name: string, password: string) =>
    podman.attempt('login', '--tls-verify=false', '--username', name, '--password', password, host);
  const wrong = await login('alice', 'wrong');
  assert.is.not(wrong.code, 0);
  assert.match(wrong.stderr, /invalid username\/password/);
  assert.is((await login('alice', people.alice.password)).code, 0);
  await podman.load(`${host}/team/podman:1`, { layers: [20_000], seed: 'podman' });
  const digest = await podman.push(`${host}/team/podman:1`);
  assert.match(await podman.run('search', '--tls-verify=false', `${host}/podman`), 'team/podman');
  assert.is((await login('team+robot', people['team+robot'].password)).code, 0);
  const refused = await podman.attempt('push', '--tls-verify=false', `${host}/team/podman:1`);
  assert.is.not(refused.code, 0);
  assert.match(refused.stderr, /denied/i);
  await podman.forget();
  assert.is((await podman.pull(`${host}/team/podman:1`)).digest, digest);
  await podman.run('logout', host);
  await podman.forget();
  assert.is.not((await podman.attempt('pull', '--quiet', '--tls-verify=false', `${host}/team/podman:1`)).code, 0);
  await podman.forget();
  assert.is((await podman.pull(`${open}/team/podman:1`)).digest, digest);
});

test('containerd: with a password (it sends the OAuth2 form), a wrong one, and none', async () => {
  const containerd = await startContainerd();
  assert.is((await pushBy(creds('alice'), `${host}/team/ctr:1`)).code, 0);
  const pull = (...more: string[]) =>
    containerd.attempt('images', 'pull', '--plain-http', '--snapshotter', 'native', ...more, `${host}/team/ctr:1`);
  assert.is.not((await pull()).code, 0);
  assert.is.not((await pull('--user', 'team+robot:wrong')).code, 0);
  const right = await pull('--user', creds('team+robot'));
  assert.is(right.code, 0, right.stderr);
  const push = (credentials: string) =>
    containerd.attempt(
      'images',
      'push',
      '--plain-http',
      '--user',
      credentials,
      `${host}/team/ctr:2`,
      `${host}/team/ctr:1`,
    );
  const refused = await push(creds('team+robot'));
  assert.is.not(refused.code, 0);
  assert.match(refused.stderr, /403|denied/i);
  const pushed = await push(creds('alice'));
  assert.is(pushed.code, 0, pushed.stderr);
  assert.match(stack.gatewayLog(), /"method":"POST","route":"auth","user":"team\+robot","status":200/);
});

test(
  'the OCI conformance suite, with an account',
  async () => {
    const folder = await temporaryFolder('oci-conformance');
    const user = { name: 'tester', password: people.tester.password };
    const result = await runSuite({ registry: host, version: 'dev', namespace: 'conformance/account', folder, user });
    const { Skip, FAIL, Error: errors, Pass } = result.counts;
    console.log(`conformance with an account: ${Pass} pass`);
    assert.equal({ Skip, FAIL, errors }, { Skip: 0, FAIL: 0, errors: 0 });
    assert.ok(Pass > 500);
    assert.is(result.apis['Blob anonymous mount'], 'Pass');
  },
  { needs: [OCI_SUITE] },
);

test.run();
