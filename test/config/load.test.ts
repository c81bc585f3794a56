import * as assert from 'uvu/assert';
import type { Role } from '../../lib/config/config.js';
import { ConfigError, loadConfig } from '../../lib/config/load.js';
import { fixture, load, mistakes, TWO_LOCATIONS, withFile } from '../support/config.js';
import { suite } from '../support/suite.js';

const test = suite('config: load');

const QUAY = fixture('quay-geo-replication.yaml');
const NODES = '{usstorage: {nodes: [us:7070]}, eustorage: {nodes: ["[fd00::5]:7070", eu2:7070]}}';

test("Quay's documented file loads unchanged for a storage-proxy, which owns what it prefers first", () => {
  const config = loadConfig({
    role: 'storage-proxy',
    file: QUAY,
    env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'eustorage' },
  });
  assert.equal(config.owned, {
    name: 'eustorage',
    driver: 'GoogleCloudStorage',
    arguments: {
      access_key: 'GOOGEXAMPLEEU',
      bucket_name: 'example-bucket-eu',
      secret_key: 'example-secret-eu',
      storage_path: '/registry',
    },
  });
  assert.is(config.database, undefined);
  assert.is(config.redis, undefined);
  assert.not.match(JSON.stringify(config), /example-secret-us|postgres/);
  assert.is(loadConfig({ role: 'storage-proxy', file: QUAY, env: {} }).owned?.name, 'usstorage');
});

test("Quay's documented file loads unchanged for gateway and worker once the nodes are known", () => {
  for (const role of ['gateway', 'worker'] as const) {
    const config = loadConfig({
      role,
      file: QUAY,
      env: {
        ENTREPOT_LOCATIONS: NODES,
        ENTREPOT_INSECURE_GRPC: 'true',
        QUAY_DISTRIBUTED_STORAGE_PREFERENCE: ' eustorage ',
      },
    });
    assert.is(config.serverHostname, 'registry.example.com');
    assert.is(config.database?.url, 'postgresql://postgres:password@10.19.0.1:5432/quay');
    assert.equal(config.redis, {
      host: '10.19.0.2',
      port: 6379,
      username: undefined,
      password: undefined,
      db: 0,
      tls: undefined,
    });
    assert.equal(config.locations, [
      { name: 'usstorage', nodes: ['us:7070'] },
      { name: 'eustorage', nodes: ['[fd00::5]:7070', 'eu2:7070'] },
    ]);
    assert.equal(config.preference, ['eustorage', 'usstorage']);
    assert.equal(config.workerLocations, ['eustorage']);
    assert.equal(config.defaultLocations, ['usstorage', 'eustorage']);
    assert.is(config.replication, true);
    assert.is(config.owned, undefined);
    assert.equal(config.notices, []);
    // No process but the owner ever holds what opens a bucket.
    assert.not.match(JSON.stringify(config), /GOOGEXAMPLE|example-secret|example-bucket/);
  }
});

test("without nodes Quay's file loads for the cli, and for gateway and worker the mistake says what to write", () => {
  assert.equal(loadConfig({ role: 'cli', file: QUAY, env: {} }).preference, ['usstorage', 'eustorage']);
  for (const role of ['gateway', 'worker'] as const) {
    try {
      loadConfig({ role, file: QUAY, env: {} });
      assert.unreachable();
    } catch (error) {
      assert.instance(error, ConfigError);
      assert.is((error as ConfigError).problems.length, 1);
      assert.match(
        (error as ConfigError).message,
        'ENTREPOT_LOCATIONS: names no nodes for usstorage, eustorage; write ENTREPOT_LOCATIONS: {usstorage: {nodes: [HOST:7070]}',
      );
    }
  }
});

test("a file full of Quay's other keys loads, with one notice that names them", () => {
  const env = { ENTREPOT_LOCATIONS: '{default: {nodes: [10.0.0.5:7070]}}', ENTREPOT_INSECURE_GRPC: 'true' };
  const config = loadConfig({ role: 'gateway', file: fixture('quay-production.yaml'), env });
  assert.is(config.notices.length, 1);
  assert.match(config.notices[0] ?? '', /SECRET_KEY.*BUILDLOGS_REDIS\.socket_timeout/);
  assert.match(config.notices[0] ?? '', 'AZURE_LOGIN_CONFIG');
  assert.not.match(config.notices[0] ?? '', /hunter2|DB_CONNECTION_ARGS|BITBUCKET/);
  assert.is(
    config.database?.url,
    'postgresql://quay:hunter2%2Fdb@db1.example.com,db2.example.com:5433/quay?sslmode=verify-full&sslrootcert=%2Fconf%2Fstack%2Fca.crt',
  );
  assert.equal(config.redis, {
    host: 'redis',
    port: 6379,
    username: undefined,
    password: 'hunter2-redis',
    db: 0,
    tls: { ca: undefined, cert: undefined, key: undefined, verified: true, hostChecked: true },
  });
  assert.is(config.replication, false);
  assert.is(config.maximumLayerSize, 100 * 1024 ** 3);
  assert.equal(config.defaultLocations, ['default']); // an empty list is the same as none
});

test('what is not given has a default', () => {
  const config = load(TWO_LOCATIONS);
  assert.is(config.serverHostname, undefined);
  assert.is(config.redis, undefined);
  assert.is(config.replication, false);
  assert.is(config.libraryNamespace, 'library');
  assert.is(config.maximumLayerSize, 20 * 1024 ** 3);
  assert.is(config.maximumManifestSize, 4 * 1024 ** 2);
  assert.is(config.sparseImages, false);
  assert.is(config.anonymousAccess, undefined);
  assert.equal(config.gatewayListen, { host: '127.0.0.1', port: 8080 });
  assert.equal(config.storageProxyListen, { host: '127.0.0.1', port: 7070 });
  assert.equal(config.workerListen, { host: '127.0.0.1', port: 7090 });
  assert.equal(config.workerLocations, ['usstorage']);
  assert.is(config.workerConcurrency, 8);
  assert.is(config.database?.poolSize, 10);
  assert.is(config.database?.listenUrl, config.database?.url);
  assert.is(config.logLevel, 'info');
});

test('the environment wins over the file, for every key of our own', () => {
  const file = `${TWO_LOCATIONS}
ENTREPOT_LOG_LEVEL: warn
ENTREPOT_WORKER_CONCURRENCY: 2
ENTREPOT_DB_LISTEN_URI: postgresql://file/entrepot
`;
  const config = load(file, 'worker', {
    ENTREPOT_LOG_LEVEL: 'debug',
    ENTREPOT_WORKER_CONCURRENCY: '3',
    ENTREPOT_WORKER_LOCATIONS: '[eustorage, usstorage]',
    ENTREPOT_WORKER_LISTEN: '[::1]:7091',
    ENTREPOT_STORAGE_PROXY_LISTEN: '"127.0.0.1:7071"',
    ENTREPOT_GATEWAY_LISTEN: '[::]:80',
    ENTREPOT_ANONYMOUS_ACCESS: 'pull',
    ENTREPOT_MAXIMUM_MANIFEST_SIZE: '8M',
    ENTREPOT_SPARSE_IMAGES: 'true',
    ENTREPOT_DB_LISTEN_URI: 'postgres://environment/entrepot',
    ENTREPOT_DB_POOL_SIZE: '4',
    ENTREPOT_INSECURE_GRPC: 'true',
    ENTREPOT_LOCATIONS: NODES,
  });
  assert.is(config.logLevel, 'debug');
  assert.is(config.workerConcurrency, 3);
  assert.equal(config.workerLocations, ['eustorage', 'usstorage']);
  assert.equal(config.workerListen, { host: '::1', port: 7091 });
  assert.equal(config.storageProxyListen, { host: '127.0.0.1', port: 7071 });
  assert.equal(config.gatewayListen, { host: '::', port: 80 });
  assert.is(config.anonymousAccess, 'pull');
  assert.is(config.maximumManifestSize, 8 * 1024 ** 2);
  assert.is(config.sparseImages, true);
  assert.is(config.database?.listenUrl, 'postgresql://environment/entrepot');
  assert.is(config.database?.poolSize, 4);
  assert.equal(config.locations[0]?.nodes, ['us:7070']);
  // An empty variable is what `${NAME:-}` leaves behind: as good as none.
  assert.is(load(file, 'worker', { ENTREPOT_LOG_LEVEL: '' }).logLevel, 'warn');
});

test('DB_LISTEN_URI is another spelling of ENTREPOT_DB_LISTEN_URI', () => {
  assert.is(
    load(`${TWO_LOCATIONS}\nDB_LISTEN_URI: postgresql://direct/entrepot`).database?.listenUrl,
    'postgresql://direct/entrepot',
  );
});

test('the gateway opens to other machines only when anonymous access is named', () => {
  assert.equal(load(TWO_LOCATIONS, 'gateway', { ENTREPOT_ANONYMOUS_ACCESS: 'none' }).gatewayListen, {
    host: '0.0.0.0',
    port: 8080,
  });
  for (const inside of ['127.0.0.1:80', '127.8.9.1:80', '[::1]:80', 'localhost:80', '[::ffff:127.0.0.1]:80']) {
    assert.type(
      load(TWO_LOCATIONS, 'gateway', { ENTREPOT_GATEWAY_LISTEN: inside }).gatewayListen.port,
      'number',
      inside,
    );
  }
  for (const outside of ['0.0.0.0:8080', '[::]:8080', '10.0.0.1:8080', 'registry.example.com:8080', '[fd00::1]:8080']) {
    const [found, ...more] = mistakes(TWO_LOCATIONS, 'gateway', { ENTREPOT_GATEWAY_LISTEN: outside });
    assert.match(
      found ?? '',
      /^ENTREPOT_GATEWAY_LISTEN: other machines could reach .*ENTREPOT_ANONYMOUS_ACCESS/,
      outside,
    );
    assert.equal(more, []);
    // It is no business of a process that does not listen there.
    assert.is(load(TWO_LOCATIONS, 'worker', { ENTREPOT_GATEWAY_LISTEN: outside }).role, 'worker');
  }
});

test('the file is the given one, or the one that ENTREPOT_CONFIG names', () => {
  withFile(TWO_LOCATIONS, file => {
    assert.is(loadConfig({ role: 'cli', env: { ENTREPOT_CONFIG: file } }).file, file);
    assert.is(loadConfig({ role: 'cli', file, env: { ENTREPOT_CONFIG: '/nowhere' } }).file, file);
  });
});

test('the configuration cannot be changed, at any depth', () => {
  const config = load(
    TWO_LOCATIONS.replace('[LocalStorage, {storage_path: /us}]', '[SwiftStorage, {os_options: {a: [1]}}]'),
    'storage-proxy',
    {
      QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage',
    },
  );
  const frozen = (value: unknown): boolean =>
    typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
  assert.ok(frozen(config));
  assert.equal(config.owned?.arguments, { os_options: { a: [1] } });
});

test('each role loads the least that it needs', () => {
  const least: Record<Role, string> = {
    gateway: TWO_LOCATIONS,
    worker: TWO_LOCATIONS,
    'storage-proxy': 'DISTRIBUTED_STORAGE_CONFIG: {usstorage: [LocalStorage, {storage_path: /us}]}',
    cli: 'DB_URI: postgresql://h/d',
  };
  for (const [role, text] of Object.entries(least)) assert.is(load(text, role as Role).role, role);
  assert.is(load(least['storage-proxy'], 'storage-proxy').owned?.name, 'usstorage');
});

test.run();
