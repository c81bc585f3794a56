/** For the bench over a long wire: our two regions, with everything but the destination at the far end. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startCluster } from '../../deploy/local/postgres/cluster.js';
import type { Row } from '../../lib/metadata/database.js';
import { migrate } from '../../lib/metadata/migrate.js';
import { parseRepository } from '../../lib/oci/name.js';
import { type Metadata, openMetadata, quiet } from '../support/clients.js';
import type { MadeBlob } from '../support/made-blobs.js';
import { memoryGroup } from '../support/memory-group.js';
import { freePort } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { atEnd } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';
import type { Region, Wan } from '../wan/wan.js';

export interface Ours {
  /** Where the source's blobs lie. */
  readonly source: string;
  readonly worker: StartedProcess;
  /** Starts a gateway in us; resolves to its base URL there. */
  startGateway(): Promise<string>;
  /** One statement on the database. */
  sql(text: string): Promise<Row[]>;
  /** Has blobs, which lie in the source, copied; resolves to the seconds that it took. */
  copy(blobs: readonly MadeBlob[]): Promise<number>;
}

const DATABASE_PORT = 5432;
const PROXY_PORT = 7071;
const GATEWAY_PORT = 8080;

/**
 * A storage-proxy and the database in us, a storage-proxy and a worker in eu. Each storage-proxy may use `memory` bytes, if
 * given.
 */
export async function startOurs(wan: Wan, concurrency: number, memory?: number): Promise<Ours> {
  const folder = await temporaryFolder('bench-wan');
  const url = await startDatabase(wan.us, folder);
  const storage = { usstorage: join(folder, 'us'), eustorage: join(folder, 'eu') };
  for (const path of Object.values(storage)) await mkdir(path);
  const nodes = ({ address }: Region) => ({ nodes: [`${address}:${PROXY_PORT}`] });
  const config = {
    DB_URI: url.replace(/@[^/]*/, `@${wan.us.address}:${DATABASE_PORT}`),
    DISTRIBUTED_STORAGE_CONFIG: {
      usstorage: ['LocalStorage', { storage_path: storage.usstorage }],
      eustorage: ['LocalStorage', { storage_path: storage.eustorage }],
    },
    DISTRIBUTED_STORAGE_PREFERENCE: ['usstorage', 'eustorage'],
    FEATURE_STORAGE_REPLICATION: true,
    ENTREPOT_LOCATIONS: { usstorage: nodes(wan.us), eustorage: nodes(wan.eu) },
    ENTREPOT_INSECURE_GRPC: true,
    ENTREPOT_WORKER_CONCURRENCY: concurrency,
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
  };
  const start = (
    script: string,
    region: Region,
    location: string,
    listen: Record<string, string>,
    within: readonly string[] = [],
  ) =>
    startProcess({
      script,
      config,
      through: [...within, ...region.through],
      env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: location, ...listen },
      ready: async started => /listening|copying blobs|the gateway serves/.test(started.log()),
    });
  for (const [region, location] of [[wan.us, 'usstorage'] as const, [wan.eu, 'eustorage'] as const]) {
    const listen = { ENTREPOT_STORAGE_PROXY_LISTEN: `${region.address}:${PROXY_PORT}` };
    await start('storage-proxy/main.js', region, location, listen, memory ? await memoryGroup(memory) : []);
  }
  const worker = await start('worker/main.js', wan.eu, 'eustorage', { ENTREPOT_WORKER_LISTEN: '127.0.0.1:7091' });
  const metadata = openMetadata(url, { libraryNamespace: 'library', replicate: false, writeQuorum: 1 });
  return {
    source: storage.usstorage,
    worker,
    async startGateway() {
      const listen = `${wan.us.address}:${GATEWAY_PORT}`;
      await start('gateway/main.js', wan.us, 'usstorage', { ENTREPOT_GATEWAY_LISTEN: listen });
      return `http://${listen}`;
    },
    sql: text => metadata.db.query(text),
    copy: copier(metadata),
  };
}

/** PostgreSQL, as durable as it is by itself, reached in its region by a forwarder. Resolves to its URL here. */
async function startDatabase(region: Region, folder: string): Promise<string> {
  const sockets = join(folder, 'sockets');
  await mkdir(sockets);
  await chmod(sockets, 0o777);
  const port = await freePort();
  const cluster = await startCluster({
    folder: join(folder, 'postgres'),
    port,
    log: join(folder, 'postgres.log'),
    database: 'entrepot',
    settings: { unix_socket_directories: sockets },
  });
  atEnd(() => cluster.stop('fast'));
  await migrate(cluster.url, quiet);
  await startProcess({
    script: 'test/wan/forward.js',
    args: [region.address, String(DATABASE_PORT), join(sockets, `.s.PGSQL.${port}`)],
    through: region.through,
    ready: async started => started.log().includes('listening'),
  });
  return cluster.url;
}

function copier(metadata: Metadata): Ours['copy'] {
  const repository = parseRepository('team/app');
  const left = async () => (await metadata.db.query('select 1 from replication limit 1')).length;
  return async blobs => {
    if (!repository) throw new Error('no repository');
    for (const { digest, size } of blobs)
      await metadata.blobs.record({ repository, digest, size, location: 'usstorage', traceId: '0'.repeat(32) });
    // They were recorded as if replication were off, and must not be queued before the clock runs.
    await metadata.db.query('delete from replicationgap');
    const began = performance.now();
    await metadata.db.query(
      `insert into replication (storage_id, location_id) select s.id, l.id from imagestorage s, imagestoragelocation l
        where s.content_checksum = any ($1) and l.name = 'eustorage' on conflict do nothing`,
      [blobs.map(({ digest }) => digest)],
    );
    await metadata.db.query('notify entrepot_replication');
    if (!(await until(async () => (await left()) === 0, 600_000))) throw new Error('the copies did not come to an end');
    const seconds = (performance.now() - began) / 1000;
    const [row] = await metadata.db.query(
      `select count(*)::int as n from imagestorageplacement p join imagestoragelocation l on l.id = p.location_id
         join imagestorage s on s.id = p.storage_id
        where l.name = 'eustorage' and p.verified_at is not null and s.content_checksum = any ($1)`,
      [blobs.map(({ digest }) => digest)],
    );
    if (row?.n !== blobs.length) throw new Error('not all copies are there');
    return seconds;
  };
}
