import { chmodSync, mkdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { Role } from '../../lib/config/config.js';
import { ConfigError, loadConfig } from '../../lib/config/load.js';
import type { Environment } from '../../lib/config/source.js';
import { load, mistakes, TWO_LOCATIONS, withFile } from '../support/config.js';
import { suite } from '../support/suite.js';

const test = suite('config: mistakes');

/** Asserts that the text has exactly one mistake, and how it reads. */
function one(text: string, expected: RegExp, role: Role = 'gateway', env: Environment = {}): void {
  const found = mistakes(text, role, env);
  assert.is(found.length, 1, found.join('\n'));
  assert.match(found[0] ?? '', expected);
}

/** The two-location file with one more line. */
const plus = (line: string) => `${TWO_LOCATIONS}\n${line}\n`;

test('all mistakes are reported at once, one a line, each with its key', () => {
  const text = `
SERVER_HOSTNAME: https://registry.example.com/
DB_URI: mysql+pymysql://quay:hunter2@db/quay
LIBARY_NAMESPACE: library
MAXIMUM_LAYER_SIZE: 20GB
FEATURE_STORAGE_REPLICATION: maybe
DISTRIBUTED_STORAGE_CONFIG:
  usstorage: [LocalStorag, {storage_path: /us, ENTREPOT_LOG_LEVEL: debug}]
  eustorage: LocalStorage
DISTRIBUTED_STORAGE_PREFERENCE: [usstorag]
ENTREPOT_WORKER_CONCURRENCY: 0
`;
  const env = {
    ENTREPOT_LOG_LEVEL: 'loud',
    ENTREPOT_LOCATIONS: '{usstorage: {nodes: [7070]}}',
    QUAY_DISTRIBUTED_STORAGE_PREFERENCE: '',
  };
  withFile(text, file => {
    try {
      loadConfig({ role: 'gateway', file, env });
      assert.unreachable();
    } catch (error) {
      assert.instance(error, ConfigError);
      const { message, problems } = error as ConfigError;
      const keys = problems.map(problem => problem.key).sort();
      assert.equal(keys, [
        'DB_URI',
        'DISTRIBUTED_STORAGE_CONFIG.eustorage',
        'DISTRIBUTED_STORAGE_CONFIG.usstorage',
        'DISTRIBUTED_STORAGE_CONFIG.usstorage.ENTREPOT_LOG_LEVEL',
        'DISTRIBUTED_STORAGE_PREFERENCE[0]',
        'ENTREPOT_LOCATIONS.usstorage.nodes[0]',
        'ENTREPOT_LOG_LEVEL',
        'ENTREPOT_WORKER_CONCURRENCY',
        'FEATURE_STORAGE_REPLICATION',
        'LIBARY_NAMESPACE',
        'MAXIMUM_LAYER_SIZE',
        'SERVER_HOSTNAME',
      ]);
      const lines = message.split('\n');
      assert.is(lines[0], `${file}: 12 mistakes in the configuration`);
      assert.equal(
        lines.slice(1).map(line => line.trim()),
        problems.map(problem => `${problem.key}: ${problem.message}`),
      );
      assert.not.match(message, 'hunter2');
    }
  });
});

test('misspelt keys get a suggestion, unknown ones do not, known ones of Quay are no mistake', () => {
  one(
    plus('DISTRIBUTED_STORAGE_PREFERENCES: [usstorage]'),
    /^DISTRIBUTED_STORAGE_PREFERENCES: unknown key; did you mean DISTRIBUTED_STORAGE_PREFERENCE\?$/,
  );
  one(plus('ENTREPOT_ANONYMOUS_ACESS: pull'), /did you mean ENTREPOT_ANONYMOUS_ACCESS\?$/);
  one(plus('server_hostname: x'), /did you mean SERVER_HOSTNAME\?$/);
  one(plus('FEATURE_MAILIN: true'), /did you mean FEATURE_MAILING\?$/);
  one(plus('WHATEVER_THIS_MAY_BE: 1'), /^WHATEVER_THIS_MAY_BE: unknown key; neither Entrepot nor Quay has it/);
  assert.is(load(plus('KEYCLOAK_LOGIN_CONFIG: {CLIENT_ID: x}')).notices.length, 1);
});

test('misspelt environment variables are a mistake; those that nobody wrote are not', () => {
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_LOGLEVEL: unknown environment variable; did you mean ENTREPOT_LOG_LEVEL\?$/,
    'gateway',
    { ENTREPOT_LOGLEVEL: 'info' },
  );
  one(TWO_LOCATIONS, /did you mean QUAY_DISTRIBUTED_STORAGE_PREFERENCE\?$/, 'gateway', {
    QUAY_DISTRIBUTED_STORAGE_PREFERENCES: 'usstorage',
  });
  const config = load(TWO_LOCATIONS, 'gateway', {
    ENTREPOT_STOP_WITH_STDIN: '1',
    QUAY_OVERRIDE_SERVICES: 'x',
    // From Kubernetes, for services called `entrepot` and `entrepot-gateway`.
    ENTREPOT_SERVICE_HOST: '10.0.0.1',
    ENTREPOT_PORT: 'tcp://10.0.0.1:80',
    ENTREPOT_PORT_80_TCP_ADDR: '10.0.0.1',
    ENTREPOT_GATEWAY_SERVICE_PORT_HTTP: '80',
  });
  assert.equal(config.notices, []);
  assert.match(
    load(TWO_LOCATIONS, 'gateway', { ENTREPOT_SOMETHING_ELSE: '1' }).notices.join(),
    'ENTREPOT_SOMETHING_ELSE',
  );
});

test('mistakes in the environment say that they are there', () => {
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_DB_POOL_SIZE: must be a whole number from 1 to 1000 \(given in the environment\)$/,
    'gateway',
    { ENTREPOT_DB_POOL_SIZE: 'ten' },
  );
  one(TWO_LOCATIONS, /^ENTREPOT_WORKER_LOCATIONS: line 1, column \d+: .*\(given in the environment\)$/, 'gateway', {
    ENTREPOT_WORKER_LOCATIONS: '[usstorage',
  });
  one(
    TWO_LOCATIONS,
    /^QUAY_DISTRIBUTED_STORAGE_PREFERENCE: there is no location apstorage in DISTRIBUTED_STORAGE_CONFIG/,
    'gateway',
    {
      QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage apstorage',
    },
  );
});

test('locations that nobody declared', () => {
  one(
    plus('DISTRIBUTED_STORAGE_PREFERENCE: [ustorage]'),
    /^DISTRIBUTED_STORAGE_PREFERENCE\[0\]: there is no location ustorage .* did you mean usstorage\?$/,
  );
  one(
    plus('DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: [usstorage, asia]'),
    /^DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS\[1\]: there is no location asia/,
  );
  one(plus('ENTREPOT_WORKER_LOCATIONS: [asia]'), /^ENTREPOT_WORKER_LOCATIONS\[0\]: there is no location asia/);
  one(`${TWO_LOCATIONS}  asia: {nodes: [asia:7070]}`, /^ENTREPOT_LOCATIONS\.asia: there is no location asia/);
  one(
    plus('DISTRIBUTED_STORAGE_PREFERENCE: {usstorage: 1}'),
    /^DISTRIBUTED_STORAGE_PREFERENCE: must be a list of names/,
  );
});

test('nodes', () => {
  const nodes = (text: string) => ({ ENTREPOT_LOCATIONS: text });
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_LOCATIONS: names no nodes for eustorage; write/,
    'worker',
    nodes('{usstorage: {nodes: [localhost:1]}}'),
  );
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_LOCATIONS: names no nodes for eustorage; write/,
    'worker',
    nodes('{usstorage: {nodes: [localhost:1]}, eustorage: {nodes: []}}'),
  );
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_LOCATIONS\.usstorage\.nodes\[0\]: must be host:port/,
    'worker',
    nodes('{usstorage: {nodes: [us]}}'),
  );
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_LOCATIONS\.usstorage: has an unknown field node; only nodes/,
    'worker',
    nodes('{usstorage: {node: [localhost:1], nodes: [localhost:1]}}'),
  );
  one(TWO_LOCATIONS, /^ENTREPOT_LOCATIONS\.usstorage: must be \{nodes/, 'worker', nodes('{usstorage: us:7070}'));
  one(TWO_LOCATIONS, /^ENTREPOT_LOCATIONS: must be a mapping/, 'worker', nodes('us:7070'));
  one(
    TWO_LOCATIONS,
    /^ENTREPOT_LOCATIONS\.eustorage\.nodes\[0\]: localhost:1 is given for usstorage already/,
    'worker',
    nodes('{usstorage: {nodes: [localhost:1]}, eustorage: {nodes: [localhost:1]}}'),
  );
});

test('storage that is missing or misshapen', () => {
  for (const role of ['gateway', 'worker', 'storage-proxy'] as const) {
    one('DB_URI: postgresql://h/d', /^DISTRIBUTED_STORAGE_CONFIG: is missing; write/, role);
    one(
      'DB_URI: postgresql://h/d\nDISTRIBUTED_STORAGE_CONFIG: {}',
      /^DISTRIBUTED_STORAGE_CONFIG: names no location/,
      role,
    );
    one(
      'DB_URI: postgresql://h/d\nDISTRIBUTED_STORAGE_CONFIG: [a]\nDISTRIBUTED_STORAGE_PREFERENCE: [a]',
      /^DISTRIBUTED_STORAGE_CONFIG: must be a mapping/,
      role,
    );
  }
  const of = (pair: string) => TWO_LOCATIONS.replace('[LocalStorage, {storage_path: /us}]', pair);
  one(of('[LocalStorage]'), /^DISTRIBUTED_STORAGE_CONFIG\.usstorage: must be a pair/);
  one(of('[LocalStorage, /us]'), /^DISTRIBUTED_STORAGE_CONFIG\.usstorage: must be a pair/);
  one(of('{LocalStorage: {}}'), /^DISTRIBUTED_STORAGE_CONFIG\.usstorage: must be a pair/);
  one(
    of('[S3, {}]'),
    /^DISTRIBUTED_STORAGE_CONFIG\.usstorage: unknown driver; known are LocalStorage, S3Storage, .*MultiCDNStorage/,
  );
  one(of('[GoogleCloudStorge, {}]'), /unknown driver; did you mean GoogleCloudStorage\? known are/);
  one(
    of('[LocalStorage, {entrepot_fsync: no}]'),
    /^DISTRIBUTED_STORAGE_CONFIG\.usstorage\.entrepot_fsync: does not belong into an engine's arguments/,
  );
  const s3 = of('[S3Storage, {storage_path: /us, s3_buket: b, port: hunter2}]');
  for (const role of ['storage-proxy', 'cli'] as const) {
    assert.equal(
      mistakes(s3, role, { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage' }).map(line => line.split(': ', 2)),
      [
        ['DISTRIBUTED_STORAGE_CONFIG.usstorage.s3_bucket', 'is missing'],
        ['DISTRIBUTED_STORAGE_CONFIG.usstorage.port', 'must be a whole number'],
        ['DISTRIBUTED_STORAGE_CONFIG.usstorage.s3_buket', 'the engine has no such argument'],
      ],
    );
  }
  // They are nobody else's business, and need not be where nobody uses them.
  load(s3, 'gateway');
  load(s3, 'storage-proxy', { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'eustorage' });
  load(of('[S3Storage, {}]'), 'cli');
  one(of('[S3Storage, {storage_path: /us}]'), /s3_bucket: is missing/, 'storage-proxy', {
    QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage',
  });
  one(
    TWO_LOCATIONS.replaceAll('usstorage', 'us storage'),
    /^DISTRIBUTED_STORAGE_CONFIG\.us storage: a location is named by letters/,
  );
});

test('a storage-proxy must know which location it owns', () => {
  const found = mistakes(TWO_LOCATIONS, 'storage-proxy');
  assert.equal(found, [
    'QUAY_DISTRIBUTED_STORAGE_PREFERENCE: is missing: a storage-proxy owns the location that it names first; set it to one of usstorage, eustorage',
  ]);
  // One mistake, not two, for a name that is none.
  const wrong = mistakes(TWO_LOCATIONS, 'storage-proxy', { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'mars' });
  assert.match(wrong.join(), /^QUAY_DISTRIBUTED_STORAGE_PREFERENCE: there is no location mars [^,]*, eustorage\)$/);
});

test('single values', () => {
  const cases: [string, RegExp][] = [
    ['MAXIMUM_LAYER_SIZE: 20', /^MAXIMUM_LAYER_SIZE: must be a whole number above 0 and G or M/],
    ['MAXIMUM_LAYER_SIZE: 0G', /^MAXIMUM_LAYER_SIZE: /],
    ['MAXIMUM_LAYER_SIZE: 99999999999G', /^MAXIMUM_LAYER_SIZE: /],
    ['ENTREPOT_MAXIMUM_MANIFEST_SIZE: 1M', /^ENTREPOT_MAXIMUM_MANIFEST_SIZE: .*at least 4M$/],
    ['ENTREPOT_MAXIMUM_MANIFEST_SIZE: 4194303', /^ENTREPOT_MAXIMUM_MANIFEST_SIZE: /],
    ['ENTREPOT_MAXIMUM_MANIFEST_SIZE: 4194304.5', /^ENTREPOT_MAXIMUM_MANIFEST_SIZE: /],
    ['ENTREPOT_ANONYMOUS_ACCESS: false', /^ENTREPOT_ANONYMOUS_ACCESS: must be one of none, pull, push$/],
    ['ENTREPOT_LOG_LEVEL: trace', /^ENTREPOT_LOG_LEVEL: must be one of debug, info, warn, error$/],
    ['ENTREPOT_DB_POOL_SIZE: 1.5', /^ENTREPOT_DB_POOL_SIZE: must be a whole number/],
    ['ENTREPOT_GATEWAY_LISTEN: 8080', /^ENTREPOT_GATEWAY_LISTEN: must be host:port/],
    ['ENTREPOT_WORKER_LISTEN: 127.0.0.1:70900', /^ENTREPOT_WORKER_LISTEN: must be host:port/],
    ['ENTREPOT_WORKER_LISTEN: ::1:7090', /^ENTREPOT_WORKER_LISTEN: must be host:port/],
    ['LIBRARY_NAMESPACE: Library', /^LIBRARY_NAMESPACE: must be one component of a repository name/],
    ['LIBRARY_NAMESPACE: a/b', /^LIBRARY_NAMESPACE: /],
    ['FEATURE_STORAGE_REPLICATION: 1', /^FEATURE_STORAGE_REPLICATION: must be true or false$/],
    ['USER_EVENTS_REDIS: redis', /^USER_EVENTS_REDIS: must be a mapping/],
    ['USER_EVENTS_REDIS: {port: 6379}', /^USER_EVENTS_REDIS\.host: is missing/],
    ['BUILDLOGS_REDIS: {host: r, port: 0}', /^BUILDLOGS_REDIS\.port: must be a whole number/],
    [
      'BUILDLOGS_REDIS: {host: r, pasword: hunter2}',
      /^BUILDLOGS_REDIS\.pasword: unknown field; did you mean password\?$/,
    ],
    [
      'BUILDLOGS_REDIS: {host: r, password: 12345}',
      /^BUILDLOGS_REDIS\.password: must be a text; put a number in quotes$/,
    ],
    ['DB_CONNECTION_ARGS: {sslmode: always}', /^DB_CONNECTION_ARGS\.sslmode: must be one of disable/],
  ];
  for (const [line, expected] of cases) one(plus(line), expected);
});

test('files that cannot be read, or hold no settings', () => {
  one('', /config\.yaml: the file is empty/);
  one('- a\n- b', /config\.yaml: the file is not a mapping/);
  one('DB_URI: a\nDB_URI: b', /config\.yaml: line 2, column 1: the key DB_URI is given twice; keep one$/);
  one('a: {b: 1, b: 2}', /config\.yaml: line 1, column 11: the key b is given twice/);
  one('\tDB_URI: a', /config\.yaml: line 1, column 1: a line is indented with a tab/);
  one('a: 1\n---\nb: 2', /config\.yaml: .* more than one document/);
  withFile('a: 1', file => {
    const folder = file.replace(/config\.yaml$/, 'folder');
    mkdirSync(folder);
    for (const [wrong, expected] of [
      [`${file}.absent`, /there is no such file/],
      [folder, /this is a directory; name the file in it/],
    ] as const) {
      assert.throws(
        () => loadConfig({ role: 'cli', file: wrong, env: {} }),
        (error: ConfigError) => {
          assert.is(error.problems[0]?.key, wrong);
          return error instanceof ConfigError && expected.test(error.message);
        },
      );
    }
    chmodSync(file, 0);
    // The superuser may read everything.
    if (process.getuid?.() !== 0)
      assert.throws(() => loadConfig({ role: 'cli', file, env: {} }), /may not read the file/);
  });
});

test('no mistake ever shows a secret', () => {
  const secrets = [
    'DB_URI: postgresql://quay:hunter2@secret@db/quay',
    'DB_URI: postgresql://quay:hunter2@db:port/quay',
    'DB_URI: quay:hunter2@db/quay',
    'DB_URI: mysql://quay:hunter2@db/quay',
    'DB_URI: {password: hunter2}',
    'ENTREPOT_DB_LISTEN_URI: sqlite://hunter2',
    'BUILDLOGS_REDIS: {host: r, password: [hunter2]}',
    'BUILDLOGS_REDIS: redis://:hunter2@r',
    'BUILDLOGS_REDIS: {host: [hunter2]}',
    'SECRET_KEY: *hunter2',
    'SECRET_KEY: !hunter2 x',
    'SECRET_KEY: "\\hunter2"',
    'SECRET_KEY: @hunter2',
    'SECRET_KEY: a: hunter2',
    'SECRET_KEY: "hunter2',
    'SECRET_KEY: [hunter2',
    'SECRETKEY: hunter2',
    'DISTRIBUTED_STORAGE_PREFERENCE: {hunter2: hunter2}',
  ].map(plus);
  const engines = [
    '[S3Storage, hunter2]',
    '[S3Storage, {secret_key: hunter2}, hunter2]',
    '[S4Storage, {secret_key: hunter2}]',
    '{secret_key: hunter2}',
    '[S3Storage, {ENTREPOT_KEY: hunter2}]',
  ];
  for (const pair of engines) secrets.push(TWO_LOCATIONS.replace('[LocalStorage, {storage_path: /us}]', pair));
  for (const text of secrets) {
    for (const role of ['gateway', 'storage-proxy'] as const) {
      try {
        load(text, role, { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage' });
      } catch (error) {
        assert.instance(error, ConfigError);
        assert.not.match((error as ConfigError).message, /hunter2|unter2/, text);
        assert.not.match(JSON.stringify(error), 'hunter2');
      }
    }
    assert.ok(mistakes(text, 'gateway').length > 0, text);
  }
});

test("a file that another program's tools wrote badly does not break the reading", () => {
  for (const text of ['__proto__: {a: 1}', 'constructor: 1', '1: 2', 'null: 1', '? [a]\n: b', 'toString: x'])
    assert.ok(mistakes(text).length > 0, text);
  const merging = `BRANDING: &base {host: r}\n${TWO_LOCATIONS}BUILDLOGS_REDIS: {<<: *base, port: 7}\n`;
  assert.equal([load(merging).redis?.host, load(merging).redis?.port], ['r', 7]);
});

test('a write quorum that could never be met', () => {
  one(plus('ENTREPOT_WRITE_QUORUM: 2'), /ENTREPOT_WRITE_QUORUM.*FEATURE_STORAGE_REPLICATION/);
  const copies = 'FEATURE_STORAGE_REPLICATION: true';
  one(plus(`${copies}\nENTREPOT_WRITE_QUORUM: 3`), /ENTREPOT_WRITE_QUORUM.*2 locations \(usstorage, eustorage/);
  const fewer = 'DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: [eustorage]';
  one(plus(`${copies}\n${fewer}\nENTREPOT_WRITE_QUORUM: 2`), /ENTREPOT_WRITE_QUORUM.*1 locations \(eustorage/);
  one(plus('ENTREPOT_WRITE_QUORUM: 0'), /ENTREPOT_WRITE_QUORUM.*from 1/);
  const config = load(plus(`${copies}\nENTREPOT_WRITE_QUORUM: 2\nENTREPOT_WRITE_QUORUM_SECONDS: 5`));
  assert.equal([config.writeQuorum, config.writeQuorumSeconds], [2, 5]);
  assert.equal([load(TWO_LOCATIONS).writeQuorum, load(TWO_LOCATIONS).writeQuorumSeconds], [1, 60]);
});

test('gRPC over a network wants certificates, or to be allowed in plain text by name', () => {
  const far = { ENTREPOT_LOCATIONS: '{usstorage: {nodes: [us:7070]}, eustorage: {nodes: ["127.0.0.1:7070"]}}' };
  for (const role of ['gateway', 'worker'] as const)
    one(
      TWO_LOCATIONS,
      /^ENTREPOT_LOCATIONS: us:7070 would be reached .*ENTREPOT_GRPC_TLS_CA.*ENTREPOT_INSECURE_GRPC/,
      role,
      far,
    );
  const proxy = { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage', ENTREPOT_STORAGE_PROXY_LISTEN: '0.0.0.0:7070' };
  one(TWO_LOCATIONS, /^ENTREPOT_STORAGE_PROXY_LISTEN: .*plain text.*ENTREPOT_INSECURE_GRPC/, 'storage-proxy', proxy);
  const worker = { ENTREPOT_WORKER_LISTEN: '10.0.0.5:7090' };
  one(TWO_LOCATIONS, /^ENTREPOT_WORKER_LISTEN: .*plain text.*ENTREPOT_INSECURE_GRPC/, 'worker', worker);
  for (const allowed of [
    { ENTREPOT_INSECURE_GRPC: 'true' },
    { ENTREPOT_GRPC_TLS_CA: '/ca', ENTREPOT_GRPC_TLS_CERT: '/cert', ENTREPOT_GRPC_TLS_KEY: '/key' },
  ]) {
    load(TWO_LOCATIONS, 'gateway', { ...far, ...allowed });
    load(TWO_LOCATIONS, 'storage-proxy', { ...proxy, ...allowed });
    load(TWO_LOCATIONS, 'worker', { ...far, ...worker, ...allowed });
  }
  one(
    plus('ENTREPOT_GRPC_TLS_CA: /a\nENTREPOT_GRPC_TLS_KEY: /k'),
    /^ENTREPOT_GRPC_TLS_CERT: is missing beside ENTREPOT_GRPC_TLS_CA and/,
  );
  const all = 'ENTREPOT_GRPC_TLS_CA: /a\nENTREPOT_GRPC_TLS_CERT: /c\nENTREPOT_GRPC_TLS_KEY: /k';
  one(plus(`${all}\nENTREPOT_INSECURE_GRPC: true`), /^ENTREPOT_INSECURE_GRPC: stands beside certificates/);
  one(plus('ENTREPOT_ADMINISTRATORS: [a b]'), /^ENTREPOT_ADMINISTRATORS\[0\]: a name has at most 63/);
  one(plus('ENTREPOT_ADMIN_TOKENS: {ci: hunter2}'), /^ENTREPOT_ADMIN_TOKENS\.ci: must be the SHA-256 of the token/);
});

test.run();
