import * as assert from 'uvu/assert';
import { fixture, TWO_LOCATIONS, withFile } from '../support/config.js';
import { entrepot } from '../support/entrepot.js';
import { suite } from '../support/suite.js';

const test = suite('cli: config check');

const QUAY = fixture('quay-geo-replication.yaml');
const NODES = '{usstorage: {nodes: [us:7070]}, eustorage: {nodes: [eu:7070]}}';

test('a good configuration: ok, a summary, exit 0', () => {
  const { status, stdout, stderr } = entrepot(['config', 'check', '--config', QUAY], {
    ENTREPOT_LOCATIONS: NODES,
    ENTREPOT_INSECURE_GRPC: 'true',
    QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'eustorage',
  });
  assert.is(stderr, '');
  assert.is(status, 0);
  const lines = stdout.split('\n');
  assert.is(lines[0], `${QUAY}: ok`);
  for (const expected of [
    /location +usstorage at us:7070/,
    /preference +eustorage, usstorage/,
    /gRPC +plain text, also over networks/,
    /gateway +127\.0\.0\.1:8080, anonymous access: this machine only/,
    /storage-proxy +127\.0\.0\.1:7070, owns eustorage \(GoogleCloudStorage\)/,
    /worker +127\.0\.0\.1:7090, copies to eustorage/,
  ]) {
    assert.match(stdout, expected);
  }
  assert.not.match(stdout, /example-secret|password/);
});

test('one role only, and notices', () => {
  const file = fixture('quay-production.yaml');
  const { status, stdout } = entrepot(['config', 'check', '-c', file, '-r', 'storage-proxy']);
  assert.is(status, 0);
  assert.match(stdout, /owns default \(RadosGWStorage\)/);
  assert.not.match(stdout, /^(gateway|worker)\b|hunter2/m);
  assert.match(stdout, /^notice: These keys of Quay's mean nothing here and are ignored: .*SECRET_KEY/m);
});

test('a driver without an engine here is noticed before its storage-proxy refuses to start', () => {
  const check = (driver: string) =>
    withFile(`DISTRIBUTED_STORAGE_CONFIG: {default: [${driver}, {storage_path: /data}]}\n`, file =>
      entrepot(['config', 'check', '--config', file, '--role', 'storage-proxy']),
    );
  assert.match(
    check('MultiCDNStorage').stdout,
    /^notice: This version has no engine for MultiCDNStorage yet: .* default /m,
  );
  assert.not.match(check('LocalStorage').stdout, 'notice');
});

test('a bad configuration: every mistake once, on standard error, exit 1', () => {
  withFile('DB_URL: postgresql://u:hunter2@h/d\nMAXIMUM_LAYER_SIZE: 1\n', file => {
    const { status, stdout, stderr } = entrepot(['config', 'check', '--config', file]);
    assert.is(status, 1);
    assert.is(stdout, '');
    const lines = stderr.trimEnd().split('\n');
    assert.is(lines[0], `${file}: cannot be used`);
    assert.is(lines.filter(line => line.includes('DB_URL: unknown key; did you mean DB_URI?')).length, 1);
    assert.is(lines.filter(line => line.includes('MAXIMUM_LAYER_SIZE: ')).length, 1);
    assert.match(stderr, /DB_URI: is missing.* \[gateway, worker, cli\]$/m);
    assert.match(stderr, /DISTRIBUTED_STORAGE_CONFIG: is missing.* \[gateway, storage-proxy, worker\]$/m);
    assert.not.match(stderr, 'hunter2');
  });
});

test('a mistake in the arguments of any location’s engine, whoever owns it', () => {
  withFile(TWO_LOCATIONS.replace('{storage_path: /eu}', '{storage_pth: hunter2}'), file => {
    const { status, stderr } = entrepot(['config', 'check', '--config', file]);
    assert.is(status, 1);
    assert.match(stderr, 'DISTRIBUTED_STORAGE_CONFIG.eustorage.storage_path: is missing');
    assert.match(stderr, 'DISTRIBUTED_STORAGE_CONFIG.eustorage.storage_pth: the engine has no such argument');
    assert.not.match(stderr, 'hunter2');
  });
});

test('the file is the one of ENTREPOT_CONFIG if none is given; one that is absent is named', () => {
  assert.is(entrepot(['config', 'check', '--role', 'cli'], { ENTREPOT_CONFIG: QUAY }).status, 0);
  const { status, stderr } = entrepot(['config', 'check'], { ENTREPOT_CONFIG: '/nowhere/config.yaml' });
  assert.is(status, 1);
  assert.match(stderr, '/nowhere/config.yaml: there is no such file');
});

test('called wrongly: exit 2', () => {
  for (const [args, expected] of [
    [
      ['config', 'check', '--role', 'captain'],
      /there is no role captain; it is one of gateway, storage-proxy, worker, cli/,
    ],
    [['config', 'check', '--fast'], /'--fast'/],
    [['config', 'check', 'config.yaml'], /'config.yaml'/],
    [['config', 'check', '--config'], /--config/],
  ] as const) {
    const { status, stdout, stderr } = entrepot([...args]);
    assert.is(status, 2, args.join(' '));
    assert.is(stdout, '');
    assert.match(stderr, expected);
    assert.match(stderr, "Try 'entrepot config check --help'.");
  }
});

test.run();
