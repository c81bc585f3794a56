import * as assert from 'uvu/assert';
import { formatAddress, isLoopback, parseAddress } from '../../lib/config/address.js';
import { parseDatabaseUri } from '../../lib/config/database-uri.js';
import { ENTREPOT_KEYS, mostSimilar } from '../../lib/config/keys.js';
import { isQuayKey, QUAY_KEYS } from '../../lib/config/quay-keys.js';
import { formatSize, parseSize } from '../../lib/config/size.js';
import { suite } from '../support/suite.js';

const test = suite('config: values');

const url = (text: string, tls?: Record<string, string>) => {
  const result = parseDatabaseUri(text, tls);
  return 'url' in result ? result.url : `mistake: ${result.mistake}`;
};

test('database addresses are normalised', () => {
  assert.is(url('postgresql://u:p@h:5432/d'), 'postgresql://u:p@h:5432/d');
  assert.is(url('postgres://h/d'), 'postgresql://h/d');
  assert.is(url('postgresql+psycopg2://u@h/d'), 'postgresql://u@h/d');
  assert.is(url('POSTGRESQL://h/d'), 'postgresql://h/d');
  assert.is(
    url('postgresql://u:p@h1,h2:5433,[::1]:5434,[::2]/d?target_session_attrs=read-write'),
    'postgresql://u:p@h1,h2:5433,[::1]:5434,[::2]/d?target_session_attrs=read-write',
  );
  assert.is(url('postgresql:///d?host=/run/postgresql'), 'postgresql:///d?host=%2Frun%2Fpostgresql');
});

test('passwords keep their meaning, whatever they hold', () => {
  for (const password of ['p/w', 'p?w', 'p#w', 'p:w', 'p%w', "p'w", 'p w', 'pä', '100%', 'a%b']) {
    assert.is(url(`postgresql://u:${password}@h/d`), `postgresql://u:${encodeURIComponent(password)}@h/d`, password);
    assert.is(
      url(`postgresql://u:${encodeURIComponent(password)}@h/d`),
      `postgresql://u:${encodeURIComponent(password)}@h/d`,
      password,
    );
  }
  assert.is(url('postgresql://u:p%40w@h/d'), 'postgresql://u:p%40w@h/d');
  assert.is(url('postgresql://u:%ff@h/d'), 'postgresql://u:%ff@h/d');
});

test('what DB_CONNECTION_ARGS says about TLS is added, and what the address says wins', () => {
  assert.is(url('postgresql://h/d', { sslmode: 'require' }), 'postgresql://h/d?sslmode=require');
  assert.is(url('postgresql://h/d?sslmode=disable', { sslmode: 'require' }), 'postgresql://h/d?sslmode=disable');
});

test('other databases and misshapen addresses are refused', () => {
  assert.match(url('mysql+pymysql://u:p@h/d'), /^mistake: names a mysql database; only PostgreSQL is supported/);
  assert.match(url('sqlite:///quay.db'), /^mistake: names a sqlite database; only PostgreSQL/);
  assert.match(url('h/d'), /^mistake: only PostgreSQL/);
  assert.match(url('postgresql://u:p@h'), /^mistake: names no database/);
  assert.match(url('postgresql://u:p@h/'), /^mistake: names no database/);
  assert.match(url('postgresql://u:p@/d'), /^mistake: names no host/);
  assert.match(url('postgresql://u:p@x@h/d'), /^mistake: .*write it as %40$/);
  for (const host of ['h:', 'h:0', 'h:70000', 'h1,,h2', 'h 1', '::1', '[::1', '[h]']) {
    assert.match(url(`postgresql://${host}/d`), /^mistake: each host must be/, host);
  }
});

test('addresses', () => {
  assert.equal(parseAddress('127.0.0.1:80'), { host: '127.0.0.1', port: 80 });
  assert.equal(parseAddress('[fd00::5]:7070'), { host: 'fd00::5', port: 7070 });
  assert.equal(parseAddress('us-proxy.storage_1.svc:0'), { host: 'us-proxy.storage_1.svc', port: 0 });
  for (const text of [
    'fd00::5:7070',
    '[127.0.0.1]:80',
    '[]:80',
    ':80',
    'h',
    'h:',
    'h:65536',
    'h:-1',
    'h:1x',
    '256.0.0.1:80',
    '-h:80',
    'a..b:80',
    ' h:80',
    'http://h:80',
  ]) {
    assert.is(parseAddress(text), undefined, text);
  }
  for (const text of ['127.0.0.1:80', '[fd00::5]:7070', 'h:1']) {
    const address = parseAddress(text);
    assert.is(address && formatAddress(address), text);
  }
  assert.equal(['127.0.0.1', '127.1.2.3', '::1', '0:0:0:0:0:0:0:1', 'LOCALHOST', '::ffff:127.0.0.1'].map(isLoopback), [
    true,
    true,
    true,
    true,
    true,
    true,
  ]);
  assert.equal(['0.0.0.0', '::', '10.0.0.1', 'localhost.example.com', '::ffff:10.0.0.1', '1::1'].map(isLoopback), [
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});

test('sizes', () => {
  assert.is(parseSize('20G'), 20 * 1024 ** 3);
  assert.is(parseSize('1M'), 1024 ** 2);
  for (const text of ['', '20', '20g', '20GB', '1.5G', '-1G', ' 1G', '0M', '9007199254740993M'])
    assert.is(parseSize(text), undefined, text);
  assert.equal([20 * 1024 ** 3, 1536 * 1024 ** 2, 5].map(formatSize), ['20G', '1536M', '5 bytes']);
});

test("Quay's keys: all well-formed, none of them has a meaning here", () => {
  assert.ok(QUAY_KEYS.size > 400);
  for (const key of QUAY_KEYS) assert.match(key, /^[A-Z][A-Z0-9_]+$/);
  for (const key of [
    'DB_URI',
    'SERVER_HOSTNAME',
    'FEATURE_STORAGE_REPLICATION',
    'MAXIMUM_LAYER_SIZE',
    ...ENTREPOT_KEYS,
  ])
    assert.not(isQuayKey(key), key);
  assert.ok(isQuayKey('MYCOMPANY_LOGIN_CONFIG'));
});

test('suggestions come from near, and only from there', () => {
  assert.is(mostSimilar('DB_URL', ['SERVER_HOSTNAME', 'DB_URI']), 'DB_URI');
  assert.is(mostSimilar('usstroage', ['eustorage', 'usstorage']), 'usstorage');
  assert.is(mostSimilar('COMPLETELY_DIFFERENT', ['DB_URI', 'SERVER_HOSTNAME']), undefined);
});

test.run();
