import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as assert from 'uvu/assert';
import { Security } from '../../lib/rpc/security.js';
import { formatAddress, startServer } from '../../lib/rpc/server.js';
import { command } from '../support/command-line.js';
import { TWO_LOCATIONS, withFile } from '../support/config.js';
import { freePort } from '../support/ports.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('cli: health');

/** Asks the process of this role that is meant to listen at `address`. */
function health(role: string, key: string, address: string) {
  const env = { [key]: address, QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'usstorage' };
  return withFile(TWO_LOCATIONS, file => command(['health', role, '--config', file], { env }));
}

test('nobody is there: the address, why, and the key that says where', async () => {
  for (const [role, key] of [
    ['gateway', 'ENTREPOT_GATEWAY_LISTEN'],
    ['storage-proxy', 'ENTREPOT_STORAGE_PROXY_LISTEN'],
    ['worker', 'ENTREPOT_WORKER_LISTEN'],
  ] as const) {
    const address = `127.0.0.1:${await freePort()}`;
    const { status, stderr } = await health(role, key, address);
    assert.is(status, 1);
    assert.match(stderr, `the ${role} at ${address} does not answer: connect ECONNREFUSED ${address}`);
    assert.match(stderr, `does it run, and listen there (${key})?`);
  }
});

test('a gateway that is there: well, or what it lacks', async () => {
  let services: object = { gateway: true, database: true };
  const server = createServer((_req, res) => {
    res.statusCode = Object.values(services).every(Boolean) ? 200 : 503;
    res.end(JSON.stringify({ data: { services }, status_code: res.statusCode }));
  });
  atEnd(() => new Promise<void>(resolve => server.close(() => resolve())));
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.equal(await health('gateway', 'ENTREPOT_GATEWAY_LISTEN', address), {
    ...{ status: 0, stdout: '', stderr: '', lines: [''] },
  });
  services = { gateway: true, database: false };
  const { status, stderr } = await health('gateway', 'ENTREPOT_GATEWAY_LISTEN', address);
  assert.is(status, 1);
  assert.is(stderr, `the gateway at ${address} cannot do its work now (database): see its log\n`);
});

test('a storage-proxy that is there: well, or what it cannot do', async () => {
  const healthNames = ['entrepot.storage.read', 'entrepot.storage.write'];
  const server = await startServer(
    { host: '127.0.0.1', port: 0 },
    { services: [], healthNames, security: Security.local },
  );
  atEnd(() => server.stop(0));
  const address = formatAddress(server.address);
  server.setHealth('entrepot.storage.read', true);
  const { status, stderr } = await health('storage-proxy', 'ENTREPOT_STORAGE_PROXY_LISTEN', address);
  assert.is(status, 1);
  assert.is(stderr, `the storage-proxy at ${address} cannot do its work now (writing): see its log\n`);
  server.setHealth('entrepot.storage.write', true);
  assert.is((await health('storage-proxy', 'ENTREPOT_STORAGE_PROXY_LISTEN', address)).status, 0);
});

test.run();
