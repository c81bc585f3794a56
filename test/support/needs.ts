/**
 * The one list of everything that the tests need beyond Node.js and npm, and how to get it.
 *
 * `required` means: with `CI=true`, its absence is a failure; elsewhere the tests that need it are skipped, loudly.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';

/** `test`: needed by `npm test`; `ci`: by the heavier tier that `.ci/run` adds; `engines`: by `npm run test:engines`. */
export type Tier = 'test' | 'ci' | 'engines';

export interface Need {
  readonly name: string;
  readonly tier: Tier;
  /** The programs that show that it is there. */
  readonly commands: readonly string[];
  /** Debian's package; undefined if Debian has none: then .ci/go-tools builds it, where Go is. */
  readonly aptPackage: string | undefined;
  readonly required: boolean;
  readonly purpose: string;
}

/** Where .ci/go-tools puts what it builds. */
const builtFolder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'entrepot-ci', 'bin');

/** Folders that are not in everybody's PATH: ours, and the system's. A test of this file takes them away. */
const moreFolders =
  process.env.ENTREPOT_TEST_ONLY_PATH === '1' ? [] : [builtFolder, '/usr/local/sbin', '/usr/sbin', '/sbin'];

const needs: readonly Need[] = [
  listed('redis-server', 'test', ['redis-server'], 'redis-server', true, 'the cache of manifests'),
  listed('skopeo', 'test', ['skopeo'], 'skopeo', true, 'pushes and pulls by a real client'),
  listed('docker', 'ci', ['docker', 'dockerd'], 'docker.io', true, 'pushes and pulls by Docker Engine'),
  listed('podman', 'ci', ['podman'], 'podman', true, 'pushes and pulls by podman'),
  listed('buildah', 'ci', ['buildah'], 'buildah', true, 'builds and pushes by buildah'),
  listed('runc', 'ci', ['runc'], 'runc', true, 'containers that podman runs'),
  listed('netavark', 'ci', ['/usr/lib/podman/netavark', 'iptables'], 'netavark', true, 'ports of containers'),
  listed('aardvark-dns', 'ci', ['/usr/lib/podman/aardvark-dns'], 'aardvark-dns', true, 'names of containers'),
  listed('podman-compose', 'ci', ['podman-compose'], 'podman-compose', true, 'Compose with podman'),
  listed('containerd', 'ci', ['containerd', 'ctr'], 'containerd', true, 'pulls by containerd, and its mirrors'),
  listed('promtool', 'ci', ['promtool'], 'prometheus', true, "Prometheus' own check of the rules for alarms"),
  listed('strace', 'ci', ['strace'], 'strace', true, 'disks that fail: errors injected into system calls'),
  listed('script', 'ci', ['script'], 'bsdutils', true, 'a terminal for what shows progress'),
  listed('faketime', 'ci', ['faketime'], 'faketime', true, 'clocks that are wrong'),
  listed('e2fsprogs', 'ci', ['mkfs.ext4'], 'e2fsprogs', true, 'a disk that loses what it took: a volume without room'),
  listed('xfsprogs', 'ci', ['mkfs.xfs', 'xfs_io'], 'xfsprogs', true, 'power loss: a file system that is shut down'),
  listed('postgresql', 'ci', ['pg_dump', 'pg_restore'], 'postgresql', true, 'backups of the database'),
  listed('openssl', 'ci', ['openssl'], 'openssl', true, 'certificates of our own'),
  listed('systemd', 'ci', ['systemd-analyze', '/lib/systemd/systemd'], 'systemd', true, 'the units for it'),
  listed('haproxy', 'ci', ['haproxy'], 'haproxy', true, 'a proxy before the gateways, which ends TLS'),
  listed('nginx', 'ci', ['nginx'], 'nginx-light', true, 'another such proxy'),
  listed(
    'ceph-mon',
    'engines',
    ['ceph-mon', 'monmaptool', 'ceph'],
    'ceph-mon',
    true,
    'a real S3 server: the cluster of Ceph RGW',
  ),
  listed('ceph-osd', 'engines', ['ceph-osd'], 'ceph-osd', true, 'a real S3 server: the disk of Ceph RGW'),
  listed('radosgw', 'engines', ['radosgw', 'radosgw-admin'], 'radosgw', true, 'a real S3 server: Ceph RGW'),
  listed(
    'swift-proxy',
    'engines',
    ['swift-proxy-server', 'swift-ring-builder'],
    'swift-proxy',
    true,
    'OpenStack Swift, also as an S3 server',
  ),
  listed('swift-account', 'engines', ['swift-account-server'], 'swift-account', true, 'a part of OpenStack Swift'),
  listed(
    'swift-container',
    'engines',
    ['swift-container-server'],
    'swift-container',
    true,
    'a part of OpenStack Swift',
  ),
  listed('swift-object', 'engines', ['swift-object-server'], 'swift-object', true, 'a part of OpenStack Swift'),
  listed('memcached', 'engines', ['memcached'], 'memcached', true, 'the cache of OpenStack Swift'),
  built('versitygw', 'engines', 'a third S3 server'),
  built('oci-conformance', 'ci', "the distribution specification's own tests"),
  built('crane', 'ci', 'pushes and pulls by crane'),
  built('oras', 'ci', 'artifacts, and what refers to them, by oras'),
  built('regctl', 'ci', 'pushes and pulls by regctl'),
  built('helm', 'ci', 'charts by Helm'),
  built('grpcurl', 'ci', "gRPC from the command line, by the servers' reflection"),
  listed('ip', 'ci', ['ip'], 'iproute2', false, 'an emulated long wire: network namespaces'),
  listed('cc', 'ci', ['cc'], 'gcc', false, 'an emulated long wire: the program that carries its packets'),
  listed('iperf3', 'ci', ['iperf3'], 'iperf3', false, 'what a long wire can carry'),
  listed('docker-registry', 'ci', ['docker-registry'], 'docker-registry', false, 'speed beside another registry'),
];

function listed(
  name: string,
  tier: Tier,
  commands: readonly string[],
  aptPackage: string | undefined,
  required: boolean,
  purpose: string,
): Need {
  return { name, tier, commands, aptPackage, required, purpose };
}

/** What has to be built: required where Go is to build it, as .ci/run does. */
function built(name: string, tier: Tier, purpose: string): Need {
  return listed(name, tier, [name], undefined, findCommand('go') !== undefined, purpose);
}

/** Whether an outside need is there. A name that is not in the list is a mistake and throws. */
function need(name: string): boolean {
  const found = needs.find(candidate => candidate.name === name);
  if (found === undefined) throw new Error(`"${name}" is not in the list of test/support/needs.ts`);
  return isPresent(found);
}

/** Those of `names` that are absent. */
export function missingNeeds(names: readonly string[]): string[] {
  return names.filter(name => !need(name));
}

/** The absolute path of a program (or of its name, looked for in PATH, in the system's folders and in ours); undefined if there is none. */
export function findCommand(command: string): string | undefined {
  if (isAbsolute(command)) return isExecutable(command) ? command : undefined;
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...moreFolders];
  return folders
    .filter(folder => folder !== '')
    .map(folder => join(folder, command))
    .find(isExecutable);
}

function isPresent(item: Need): boolean {
  return item.commands.every(command => findCommand(command) !== undefined);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The needs of `tier` that are absent. */
export function absent(tier: Tier): Need[] {
  return needs.filter(item => item.tier === tier && !isPresent(item));
}

/** Installs what is absent, if this is Debian (or made from it) and we are root; otherwise does nothing. */
export function installMissing(tier: Tier): void {
  const packages = absent(tier).flatMap(item => item.aptPackage ?? []);
  if (packages.length === 0 || process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return;
  if (findCommand('apt-get') === undefined) return;
  console.log(`Installing with apt-get: ${packages.join(' ')}`);
  withoutServices(() => {
    const wait = ['-o', 'DPkg::Lock::Timeout=300'];
    if (aptGet([...wait, 'update'])) aptGet([...wait, 'install', '-y', '--no-install-recommends', ...packages]);
  });
}

function aptGet(parameters: readonly string[]): boolean {
  const done = spawnSync('apt-get', parameters, {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (done.status === 0) return true;
  console.error(`apt-get ${parameters.join(' ')} failed:\n${done.stdout}${done.stderr}`);
  return false;
}

/** Debian's packages start their service when installed, unless this file says no; we want the programs alone. */
function withoutServices(install: () => void): void {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    install();
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}
