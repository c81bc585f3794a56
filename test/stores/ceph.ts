/**
 * Ceph's RADOS Gateway with a cluster of its own, as small as one can be: one monitor, one OSD that keeps everything in
 * memory, no authentication, no replicas. Ready in about two seconds.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, runTool, startDaemon } from '../support/daemon.js';
import { freePorts } from '../support/ports.js';
import { temporaryFolder } from '../support/tmp.js';
import type { S3Server } from './store.js';

const ACCESS_KEY = 'entrepottest';
const SECRET_KEY = 'entrepottestsecret';

/** What it needs of test/support/needs.ts. */
export const CEPH_NEEDS = ['ceph-mon', 'ceph-osd', 'radosgw'];

const KMS_KEY = 'test-key';

export async function startCeph(): Promise<S3Server> {
  const folder = await temporaryFolder('ceph');
  const [port = 0, messenger2 = 0, messenger1 = 0] = await freePorts(3);
  const id = randomUUID();
  const conf = join(folder, 'ceph.conf');
  const mon = join(folder, 'mon');
  const osd = join(folder, 'osd');
  for (const each of [mon, osd, join(folder, 'run'), join(folder, 'log'), join(folder, 'rgw')]) await mkdir(each);
  await writeFile(conf, configuration({ folder, id, port, messenger1, messenger2 }));
  const env = { CEPH_CONF: conf };
  const tool = (command: string, ...words: string[]) => runTool(command, [...words], env);

  const map = join(folder, 'monmap');
  const address = `[v2:127.0.0.1:${messenger2},v1:127.0.0.1:${messenger1}]`;
  await tool('monmaptool', '--create', '--clobber', '--fsid', id, '--addv', 'a', address, map);
  await tool('ceph-mon', '--mkfs', '-c', conf, '-i', 'a', '--monmap', map, '--mon-data', mon);
  const ceph = (...words: string[]) => tool('ceph', '-c', conf, '--connect-timeout', '2', ...words);
  await startDaemon('ceph-mon', ['-f', '-c', conf, '-i', 'a'], async () => Boolean(await ceph('mon', 'stat')), env);
  const osdId = randomUUID();
  await ceph('osd', 'new', osdId, '0');
  await tool('ceph-osd', '-c', conf, '-i', '0', '--mkfs', '--osd-uuid', osdId);
  await writeFile(join(osd, 'type'), 'memstore\n');
  const isUp = async () => (await ceph('osd', 'stat')).includes(' 1 up');
  await startDaemon('ceph-osd', ['-f', '-c', conf, '-i', '0'], isUp, env);
  const front = await startDaemon(
    'radosgw',
    ['-f', '-c', conf, '-n', 'client.rgw'],
    () => answers(`http://127.0.0.1:${port}/`),
    env,
  );
  const admin = (...words: string[]) => tool('radosgw-admin', '-c', conf, ...words);
  const keys = [`--access-key=${ACCESS_KEY}`, `--secret-key=${SECRET_KEY}`];
  await admin('user', 'create', '--uid=test', '--display-name=test', ...keys);
  return {
    name: 'Ceph RGW',
    host: '127.0.0.1',
    port,
    accessKey: ACCESS_KEY,
    secretKey: SECRET_KEY,
    front,
    limit: async (_bucket, bytes) => {
      const user = ['--uid=test', '--quota-scope=bucket'];
      if (bytes !== undefined) await admin('quota', 'set', ...user, `--max-size=${bytes}`);
      await admin('quota', bytes === undefined ? 'disable' : 'enable', ...user);
    },
    kmsKey: KMS_KEY,
    user: async name => {
      const of = { accessKey: `${name}-access`, secretKey: `${name}-secret` };
      const words = [`--uid=${name}`, `--display-name=${name}`, '--max-buckets=-1'];
      await admin('user', 'create', ...words, `--access-key=${of.accessKey}`, `--secret-key=${of.secretKey}`);
      return of;
    },
    role: async (name, policy) => {
      const allow = (more: Readonly<Record<string, unknown>>) =>
        JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', ...more }] });
      const trust = allow({ Action: ['sts:AssumeRole'], Principal: { AWS: ['arn:aws:iam:::user/test'] } });
      const rights = policy ?? allow({ Action: ['s3:*'], Resource: ['*'] });
      await admin('role', 'create', `--role-name=${name}`, `--assume-role-policy-doc=${trust}`);
      await admin('role-policy', 'put', `--role-name=${name}`, '--policy-name=rights', `--policy-doc=${rights}`);
      const { Arn } = JSON.parse(await admin('role', 'get', `--role-name=${name}`));
      return Arn;
    },
  };
}

interface Places {
  readonly folder: string;
  readonly id: string;
  readonly port: number;
  readonly messenger1: number;
  readonly messenger2: number;
}

/**
 * What is not obvious: radosgw demands encryption of the monitor's messages by default, which does not exist without
 * authentication; `tcp_nodelay` spares 40 ms with many requests.
 */
function configuration({ folder, id, port, messenger1, messenger2 }: Places): string {
  return `
[global]
fsid = ${id}
mon_host = [v2:127.0.0.1:${messenger2},v1:127.0.0.1:${messenger1}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
public_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = ${folder}/run
admin_socket = ${folder}/run/$name.asok
pid_file = ${folder}/run/$name.pid
log_file = ${folder}/log/$name.log
crash_dir = ${folder}/run
keyring = ${folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
mon_warn_on_pool_no_redundancy = false
mon_cluster_log_file = ${folder}/log/cluster.log
mon_data_avail_warn = 2
mon_data_avail_crit = 1
ms_bind_ipv6 = false
[mon]
mon_data = ${folder}/mon
mon_osd_full_ratio = .97
mon_osd_nearfull_ratio = .95
mon_osd_backfillfull_ratio = .96
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_tick_interval = 1
mon_pg_create_interval = 1
mon_election_timeout = 1
[osd]
osd_data = ${folder}/osd
osd_objectstore = memstore
osd_journal =
osd_memory_target = 939524096
osd_max_object_name_len = 2048
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 2
osd_class_load_list = *
osd_class_default_list = *
memstore_device_bytes = 8589934592
[client]
ms_mon_client_mode = crc secure
rgw_data = ${folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw_run_sync_thread = false
rgw_thread_pool_size = 64
rgw_gc_obj_min_wait = 5
rgw_gc_processor_period = 5
rgw_rados_pool_pg_num_min = 4
rgw_dns_name = localhost
rgw_bucket_quota_ttl = 0
rgw_user_quota_bucket_sync_interval = 1
rgw_user_quota_sync_interval = 1
rgw_enable_apis = s3, admin, sts, iam
rgw_s3_auth_use_sts = true
rgw_sts_key = abcdefghijklmnop
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = ${KMS_KEY}=${Buffer.alloc(32, 7).toString('base64')}
`;
}
