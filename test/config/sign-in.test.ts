import * as assert from 'uvu/assert';
import { load, mistakes, TWO_LOCATIONS } from '../support/config.js';
import { suite } from '../support/suite.js';

const test = suite('config: sign-in');

const FILE = `${TWO_LOCATIONS}ENTREPOT_USERS_FILE: /conf/stack/users.yaml\n`;
const SECRET = 'hunter2 hunter2 hunter2';

test('a users file makes a gateway serve every network, and needs a secret', () => {
  const config = load(`${FILE}DATABASE_SECRET_KEY: ${SECRET}\nSUPER_USERS: [admin]\n`);
  assert.equal(config.signIn, { usersFile: '/conf/stack/users.yaml', superUsers: ['admin'], secretKey: SECRET });
  assert.equal(config.gatewayListen, { host: '0.0.0.0', port: 8080 });
  assert.is(config.anonymousAccess, undefined);
  assert.equal(config.notices, []);
  assert.match(
    mistakes(FILE).join(),
    /^DATABASE_SECRET_KEY: is missing, and ENTREPOT_USERS_FILE needs it: .*openssl rand/,
  );
});

test('the secret may come from the environment, where it is a text as it stands', () => {
  const env = { ENTREPOT_DATABASE_SECRET_KEY: '12345678901234567890' };
  assert.is(load(`${FILE}DATABASE_SECRET_KEY: ${SECRET}\n`, 'gateway', env).signIn?.secretKey, '12345678901234567890');
});

test('a secret that is too short, or was read as a number, is a mistake that does not tell it', () => {
  for (const [secret, expected] of [
    ['hunter2', /is too short/],
    ['12345678901234567890', /must be a text.*put a number in quotes/],
  ] as const) {
    const [mistake = '', ...more] = mistakes(`${FILE}DATABASE_SECRET_KEY: ${secret}\n`);
    assert.match(mistake, expected);
    assert.not.match(mistake, secret);
    assert.equal(more, []);
  }
});

test('only a gateway is given the secret; Quay’s keys mean nothing without a users file', () => {
  const text = `${FILE}DATABASE_SECRET_KEY: ${SECRET}\n`;
  for (const role of ['worker', 'cli'] as const) assert.not.match(JSON.stringify(load(text, role)), 'hunter2 h');
  const quay = load(`${TWO_LOCATIONS}DATABASE_SECRET_KEY: 7\nSUPER_USERS: [admin]\nEXTERNAL_TLS_TERMINATION: true\n`);
  assert.is(quay.signIn, undefined);
  assert.is(quay.urlScheme, 'https');
  assert.is(quay.gatewayListen.host, '127.0.0.1');
});

test('trusted proxies are addresses and networks', () => {
  const trusted = (value: string) => load(`${TWO_LOCATIONS}ENTREPOT_TRUSTED_PROXIES: ${value}\n`).trustedProxies;
  assert.equal(trusted("[10.0.0.7, 10.1.0.0/16, 'fd00::/8']"), ['10.0.0.7', '10.1.0.0/16', 'fd00::/8']);
  assert.equal(trusted('10.0.0.7 ::1'), ['10.0.0.7', '::1']);
  for (const value of ['[10.0.0.0/33]', '[proxy]', '[10.0.0.0/8/8]', '{}', '7', "['fd00::/129']", '[10.0.0.0/]']) {
    assert.match(
      mistakes(`${TWO_LOCATIONS}ENTREPOT_TRUSTED_PROXIES: ${value}\n`).join(),
      /must be a list of addresses/,
      value,
    );
  }
});

test.run();
