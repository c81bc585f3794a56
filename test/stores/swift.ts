/** OpenStack Swift with its S3 API: the second dialect. One of each server, one device, one replica. */
import { mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { answers, type Daemon, runTool, startDaemon } from '../support/daemon.js';
import { freePorts } from '../support/ports.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';
import { abandoned, connections } from './sockets.js';
import type { S3Server } from './store.js';

/** What it needs of test/support/needs.ts. */
export const SWIFT_NEEDS = ['swift-proxy', 'swift-account', 'swift-container', 'swift-object', 'memcached'];

const USER = 'test:tester';
const KEY = 'testing';
/** Somebody who owns nothing. */
const OTHER = { accessKey: 'test:proxy', secretKey: 'proxying' };
/** It is at rest if it was seen so that many times, one after the other. */
const RESTFUL = 10;

export async function startSwift(): Promise<S3Server> {
  const folder = await temporaryFolder('swift');
  const [port = 0, account = 0, container = 0, object = 0, memcached = 0] = await freePorts(5);
  const etc = join(folder, 'etc');
  for (const each of [etc, join(folder, 'devs', 'd1'), join(folder, 'cache')]) await mkdir(each, { recursive: true });
  const servers = { account, container, object };
  for (const [name, at] of Object.entries(servers)) {
    const ring = join(etc, `${name}.builder`);
    await runTool('swift-ring-builder', [ring, 'create', '4', '1', '0']);
    await runTool('swift-ring-builder', [ring, 'add', `r1z1-127.0.0.1:${at}/d1`, '1']);
    await runTool('swift-ring-builder', [ring, 'rebalance']);
    await writeFile(join(etc, `${name}-server.conf`), serverConfiguration(folder, name, at));
  }
  await writeFile(join(etc, 'proxy-server.conf'), proxyConfiguration(folder, port, memcached));
  await startDaemon(
    'memcached',
    ['-l', '127.0.0.1', '-p', String(memcached), '-U', '0', '-m', '64', '-u', userInfo().username],
    async () => true,
  );
  for (const [name, at] of Object.entries(servers)) {
    await startDaemon(`swift-${name}-server`, [join(etc, `${name}-server.conf`), '-v'], () =>
      answers(`http://127.0.0.1:${at}/`),
    );
  }
  const health = `http://127.0.0.1:${port}/healthcheck`;
  const front: Daemon = await startDaemon('swift-proxy-server', [join(etc, 'proxy-server.conf'), '-v'], () =>
    answers(health),
  );
  return {
    name: 'Swift s3api',
    host: '127.0.0.1',
    port,
    accessKey: USER,
    secretKey: KEY,
    front,
    // Parts lie in a container of their own.
    limit: async (bucket, bytes) => {
      for (const container of [bucket, `${bucket}+segments`]) {
        const headers = {
          ...(await token(port)),
          'X-Container-Meta-Quota-Bytes': bytes === undefined ? '' : String(bytes),
        };
        const path = `http://127.0.0.1:${port}/v1/AUTH_test/${container}`;
        await fetch(path, { method: 'PUT', headers, signal: AbortSignal.timeout(5_000) });
      }
    },
    user: async () => OTHER,
    open: async (container, user) => {
      const acl = { 'X-Container-Read': user, 'X-Container-Write': user };
      const path = `http://127.0.0.1:${port}/v1/AUTH_test/${container}`;
      const headers = { ...(await token(port)), ...acl };
      await fetch(path, { method: 'PUT', headers, signal: AbortSignal.timeout(5_000) });
    },
    hidden: bucket => segmentsOf(port, bucket),
    // The proxy opens a connection for each request to another server, and closes it after. Between two of them it has
    // none: so it is asked for something itself each time, which it answers in its turn, however slow the machine is.
    quiet: async () => {
      let restful = 0;
      const isQuiet = async () => {
        const answered = await answers(health).catch(() => false);
        const busy = [...(await abandoned(port)), ...(await connections(front.pid, [account, container, object]))];
        restful = answered && busy.length === 0 ? restful + 1 : 0;
        return restful === RESTFUL;
      };
      if (!(await until(isQuiet, 30_000))) throw new Error('Swift does not come to rest');
    },
  };
}

/** The parts of multipart uploads: s3api keeps them in a container beside the bucket's, which S3 does not show. */
async function segmentsOf(port: number, bucket: string): Promise<string[]> {
  const signal = AbortSignal.timeout(5_000);
  const path = `http://127.0.0.1:${port}/v1/AUTH_test/${bucket}+segments`;
  const listing = await fetch(path, { headers: await token(port), signal });
  const text = listing.status === 200 ? await listing.text() : '';
  return text
    .split('\n')
    .filter(Boolean)
    .map(name => `segment ${name}`);
}

/** Logs in to Swift's own API. */
async function token(port: number): Promise<Record<string, string>> {
  const headers = { 'X-Auth-User': USER, 'X-Auth-Key': KEY };
  const login = await fetch(`http://127.0.0.1:${port}/auth/v1.0`, { headers, signal: AbortSignal.timeout(5_000) });
  return { 'X-Auth-Token': login.headers.get('x-auth-token') ?? '' };
}

/**
 * `conn_timeout`, `node_timeout`: on a crowded machine the servers answer each other late. What one gives up on it leaves
 * for a daemon that does not run here, and a listing then shows for ever what was deleted.
 */
const PATIENCE = `
conn_timeout = 20
node_timeout = 60
`;

function serverConfiguration(folder: string, name: string, port: number): string {
  return `
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = ${userInfo().username}
swift_dir = ${folder}/etc
devices = ${folder}/devs
mount_check = false
fallocate_reserve = 0
log_level = WARNING
recon_cache_path = ${folder}/cache
container_update_timeout = 60
max_clients = 1024
${PATIENCE}
[pipeline:main]
pipeline = ${name}-server
[app:${name}-server]
use = egg:swift#${name}
${PATIENCE}
`;
}

/** `error_suppression_*`: with a single device, one error would otherwise take the whole store away for a minute. */
function proxyConfiguration(folder: string, port: number, memcached: number): string {
  const filters = ['listing_formats', 'bulk', 'copy', 'container_quotas', 'slo', 'catch_errors', 'gatekeeper'];
  return `
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = ${userInfo().username}
swift_dir = ${folder}/etc
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy container_quotas slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
recoverable_node_timeout = 60
${PATIENCE}
error_suppression_interval = 0
error_suppression_limit = 1000000
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = ${KEY} .admin
user_test_${OTHER.accessKey.replace('test:', '')} = ${OTHER.secretKey}
token_life = 86400
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
check_bucket_owner = false
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${memcached}
[filter:healthcheck]
use = egg:swift#healthcheck
${filters.map(name => `[filter:${name}]\nuse = egg:swift#${name}`).join('\n')}
`;
}
