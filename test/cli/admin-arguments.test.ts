import * as assert from 'uvu/assert';
import { dialOf } from '../../cli/admin/dial.js';
import { Workers } from '../../cli/admin/workers.js';
import { loadAdminAccess } from '../../lib/config/admin.js';
import { fail } from '../../lib/rpc/errors.js';
import { Security } from '../../lib/rpc/security.js';
import type { SetLimitsRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetLimitsRequest.js';
import type { SetModeRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetModeRequest.js';
import type { SetModeResponse } from '../../proto/generated/entrepot/admin/v1/SetModeResponse.js';
import type { SetNamespaceLocationsRequest__Output } from '../../proto/generated/entrepot/admin/v1/SetNamespaceLocationsRequest.js';
import { command, objects } from '../support/command-line.js';
import { freePort } from '../support/ports.js';
import { suite } from '../support/suite.js';
import { answers, make, sends, startAdminServer } from './admin-server.js';

const test = suite('cli: arguments of the commands, and whom they ask');

let server: Awaited<ReturnType<typeof startAdminServer>>;
test.before(async () => {
  server = await startAdminServer();
});

/** Runs a command against the scripted server. */
function ask(args: readonly string[]) {
  return command([...args, '--server', server.address]);
}

test('settings: what is asked for', async () => {
  const set = answers<SetLimitsRequest__Output, object>({});
  const locations = [{ name: 'eustorage', limits: { concurrency: 4, bytesPerSecond: 1000 } }];
  server.script = { ListLocations: answers({ locations }).handler, SetLimits: set.handler };
  assert.match((await ask(['limits', 'eustorage'])).stdout, '4 at a time, 1000 B/s');
  assert.equal(set.requests, []);
  await ask(['limits', 'eustorage', '--bytes-per-second', '50M']);
  await ask(['limits', 'eustorage', '--concurrency', '0']);
  assert.equal(
    set.requests.map(({ limits }) => [limits?.concurrency, limits?.bytesPerSecond]),
    [
      [4, 50 * 1024 ** 2],
      [0, 1000],
    ],
  );
  assert.match((await ask(['limits', 'nowhere'])).stderr, "there is no location nowhere: 'entrepot status' names");

  for (const [copies, said] of [
    [0, 'No copy waits to be tried again.'],
    [1, '1 copy: tried again now.'],
  ] as const) {
    server.script = { RetryReplication: answers({ copies }).handler };
    assert.equal((await ask(['retry'])).lines, [said]);
  }

  const names = answers<SetNamespaceLocationsRequest__Output, object>({});
  server.script = { SetNamespaceLocations: names.handler };
  await ask(['namespace', 'demo', '--locations', 'usstorage,eustorage', '--replace']);
  await ask(['namespace', 'demo', '--clear']);
  assert.equal(names.requests, [
    { namespace: 'demo', locations: ['usstorage', 'eustorage'], replace: true },
    { namespace: 'demo', locations: [], replace: false },
  ]);

  const own = [
    { namespace: 'secret', locations: ['eustorage'], replace: true },
    { namespace: 'team', locations: ['apstorage', 'eustorage'], replace: false },
  ];
  server.script = { ListNamespaceLocations: sends(...own).handler };
  assert.equal((await ask(['namespace', 'secret'])).lines, [
    'Blobs of secret must be in eustorage, instead of the default locations.',
  ]);
  assert.equal((await ask(['namespaces'])).lines, [
    'NAMESPACE  LOCATIONS',
    'secret     eustorage, instead of the default locations',
    'team       apstorage, eustorage, in addition to the default locations',
  ]);
  assert.equal(
    objects(await ask(['namespaces', '--json'])),
    own.map(each => ({ event: 'namespace', ...each })),
  );
  server.script = { ListNamespaceLocations: sends().handler };
  assert.equal((await ask(['namespace', 'demo'])).lines, ['Blobs of demo must be in the default locations.']);
  assert.equal((await ask(['namespaces'])).lines, ['No namespace has locations of its own.']);

  const mode = answers<SetModeRequest__Output, SetModeResponse>({ mode: { readOnly: true, reason: 'moving' } });
  server.script = { SetMode: mode.handler };
  const { lines } = await ask(['mode', 'read-only', '--reason', 'moving']);
  assert.equal(lines, ['The registry is read-only (moving).']);
  assert.equal(mode.requests, [{ mode: { readOnly: true, pushesDisabled: false, reason: 'moving' } }]);
});

test('called wrongly: exit 2, before anybody is asked', async () => {
  server.script = {};
  for (const [args, expected] of [
    [['removelocation'], 'removelocation needs one LOCATION'],
    [['removelocation', 'eustorage', 'usstorage'], 'there is usstorage besides'],
    [['status', 'eustorage'], "'eustorage'"],
    [['status', '--server', 'here'], '--server must be HOST:PORT'],
    [['image', 'demo/hello'], 'an image is REPOSITORY:TAG'],
    [['image', 'registry.example.com:5000/demo/hello'], 'an image is REPOSITORY:TAG'],
    [['verify', 'eustorage', '--sample', '100'], '--sample must be a whole number, from 1 to 99: 100'],
    [['events', '--after', '-1'], '--after'],
    [['events', '--after', '1', '--new'], 'exclude each other'],
    [['adopt', 'eustorage', '--release', '--dry-run'], '--release has no --dry-run'],
    [['retry', '--digest', 'latest'], '--digest is not a digest'],
    [['limits', 'eustorage', '--bytes-per-second', '50MB'], '--bytes-per-second must be a number of bytes'],
    [['namespace', 'demo', '--replace'], 'say where, with --locations'],
    [['namespace', 'demo', '--locations', ''], 'say where, with --locations'],
    [['namespace', 'demo', '--clear', '--locations', 'usstorage'], '--clear excludes'],
    [['mode', 'normal', '--reason', 'done'], '--reason is for read-only and no-pushes'],
    [['mode', 'writable'], 'there is no mode writable; it is one of normal, read-only, no-pushes'],
  ] as const) {
    const { status, stdout, stderr } = await command(args, { env: { ENTREPOT_ADMIN_SERVERS: server.address } });
    assert.is(status, 2, args.join(' '));
    assert.is(stdout, '');
    assert.match(stderr, expected);
  }
  server.script = { PauseLocation: make.unary(() => Promise.reject(fail.malformed('location is missing'))) };
  assert.is((await ask(['pause', 'eustorage'])).status, 2);
});

test('nobody there: exit 3, by flag and key; several are tried in turn', async () => {
  server.script = { ListLocations: answers({ inSync: true }).handler };
  const nobody = `127.0.0.1:${await freePort()}`;
  const alone = await command(['status', '--server', nobody]);
  assert.is(alone.status, 3);
  assert.match(alone.stderr, `${nobody}: connect ECONNREFUSED ${nobody}\n`);
  assert.match(alone.stderr, /--server HOST:PORT or ENTREPOT_ADMIN_SERVERS\.\n/);
  assert.is((await command(['status', '--server', `${nobody},${server.address}`])).status, 0);

  // Nothing says where one is: most likely a configuration would.
  const access = { ...loadAdminAccess(undefined, {}), servers: [nobody] };
  const workers = new Workers({ access, dial: dialOf(access, Security.local), signal: new AbortController().signal });
  const guessed = await workers.next().then(() => '', String);
  assert.match(
    guessed,
    'ENTREPOT_ADMIN_SERVERS, or name the configuration that says so, with --config or ENTREPOT_CONFIG.',
  );

  const both = { ENTREPOT_WORKER_LISTEN: nobody, ENTREPOT_ADMIN_SERVERS: `[${server.address}]` };
  assert.is((await command(['status'], { env: both })).status, 0);
  const own = { ENTREPOT_WORKER_LISTEN: server.address.replace('127.0.0.1', '0.0.0.0') };
  assert.is((await command(['status'], { env: own })).status, 0);
  const wrong = await command(['status'], { env: { ENTREPOT_ADMIN_SERVERS: 'here' } });
  assert.is(wrong.status, 1);
  assert.match(wrong.stderr, 'ENTREPOT_ADMIN_SERVERS: must be a list of host:port');

  server.script = { ListLocations: make.unary(() => Promise.reject(fail.databaseUnavailable(undefined))) };
  assert.is((await ask(['status'])).status, 3);
});

test.run();
