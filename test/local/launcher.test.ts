/** `npm start`, in a folder and on ports of its own. */

import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { portNames } from '../../deploy/local/topology.js';
import { freePorts } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { isAlive, until } from '../support/wait.js';

const test = suite('launcher', { timeoutMs: 90_000, fileTimeoutMs: 300_000 });

interface Launched {
  readonly launcher: StartedProcess;
  readonly data: string;
  readonly ports: Readonly<Record<string, number>>;
  /** The process ids of everything, by name. */
  pids(): Record<string, number>;
}

interface LaunchOptions {
  readonly data?: string;
  readonly extra?: readonly string[];
  readonly ports?: readonly number[];
  /** Whether to wait for the ready text; otherwise it is expected to fail. */
  readonly wait?: boolean;
}

async function launch(options: LaunchOptions = {}): Promise<Launched> {
  const data = options.data ?? join(await temporaryFolder('stack'), 'the data');
  const numbers = options.ports ?? (await freePorts(portNames.length));
  const ports = Object.fromEntries(portNames.map((name, index) => [name, numbers[index] ?? 0]));
  const launcher = await startProcess({
    name: 'launcher',
    script: 'deploy/local/main.js',
    args: ['--data', data, ...Object.entries(ports).flatMap(([name, port]) => ['--port', `${name}=${port}`])].concat(
      options.extra ?? [],
    ),
    readyTimeoutMs: 60_000,
    ...(options.wait === false ? {} : { ready: async process => process.log().includes('Entrepot is ready') }),
  });
  return { launcher, data, ports, pids: () => readPids(data) };
}

function readPids(data: string): Record<string, number> {
  const all = JSON.parse(readFileSync(join(data, 'processes.json'), 'utf8')) as Record<string, { pid: number | null }>;
  return Object.fromEntries(Object.entries(all).map(([name, { pid }]) => [name, pid ?? 0]));
}

async function answers(port: number | undefined): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/v2/`, { signal: AbortSignal.timeout(2_000) }).then(
    response => response.arrayBuffer().then(() => response.status === 200),
    () => false,
  );
}

/** Runs a launcher that cannot start; returns its exit code and what it said. */
async function failing(options: LaunchOptions): Promise<{ code: number | null; log: string; data: string }> {
  const { launcher, data } = await launch({ ...options, wait: false });
  const { code } = await launcher.exited;
  return { code, log: launcher.log(), data };
}

// One stack for the tests up to the one that ends it: a start takes seconds.
let stack: Launched;

test('starts everything, and says what to try', async () => {
  stack = await launch();
  const { launcher, data, ports, pids } = stack;
  assert.match(launcher.log(), `docker push 127.0.0.1:${ports['gateway-us']}/demo/hello:1`);
  assert.match(launcher.log(), `docker pull 127.0.0.1:${ports['gateway-eu']}/demo/hello:1`);
  // The data folder's name has a space.
  assert.match(launcher.log(), `export ENTREPOT_CONFIG='${data}/config.yaml'\n`);
  assert.ok(await answers(ports['gateway-us']));
  assert.ok(await answers(ports['gateway-eu']));
  assert.equal(Object.keys(pids()).sort(), ['launcher', ...portNames].sort());
  for (const [name, pid] of Object.entries(pids())) assert.ok(isAlive(pid), `${name} does not live`);
  const config = parse(readFileSync(join(data, 'config.yaml'), 'utf8'));
  assert.equal(Object.keys(config.DISTRIBUTED_STORAGE_CONFIG), ['usstorage', 'eustorage']);
});

test('refuses to share its data with a second launcher', async () => {
  const { code, log } = await failing({ data: stack.data });
  assert.is(code, 1);
  assert.match(log, new RegExp(`Another launcher \\(process ${stack.launcher.pid}\\) already uses these data`));
});

test('starts a process again that died, and says so', async () => {
  const { launcher, pids } = stack;
  const before = pids()['storage-proxy-eu'] ?? 0;
  process.kill(before, 'SIGKILL');
  const again = () => ![0, before].includes(pids()['storage-proxy-eu'] ?? 0);
  assert.ok(await until(again, 15_000), launcher.log());
  assert.match(launcher.log(), /storage-proxy-eu ended unexpectedly \(SIGKILL\)/);
});

test('stops everything in order at Ctrl-C', async () => {
  const { launcher, pids } = stack;
  const all = pids();
  launcher.kill('SIGINT');
  const { code } = await launcher.exited;
  assert.is(code, 0, launcher.log());
  const stopped = launcher.log().slice(launcher.log().indexOf('Stopping (Ctrl-C)'));
  assert.equal(
    stopped
      .split('\n')
      .filter(line => line.includes('✓'))
      .map(line => line.trim()),
    ['✓ gateway-us, gateway-eu', '✓ worker-us, worker-eu', '✓ storage-proxy-us, storage-proxy-eu', '✓ PostgreSQL'],
  );
  for (const [name, pid] of Object.entries(all)) assert.not.ok(isAlive(pid), `${name} still lives`);
});

test('starts again on the same data, and leaves no process behind when it is killed', async () => {
  const { launcher, pids } = await launch({ data: stack.data, ports: Object.values(stack.ports) });
  const all = pids();
  launcher.kill('SIGKILL');
  await launcher.exited;
  // Five seconds, and what a crowded machine adds.
  assert.ok(await until(() => Object.values(all).every(pid => !isAlive(pid)), 8_000), JSON.stringify(all));
});

test('starts after having been killed, and ends when PostgreSQL dies', async () => {
  const { launcher, ports, pids } = await launch({ data: stack.data, ports: Object.values(stack.ports) });
  assert.ok(await answers(ports['gateway-us']));
  process.kill(pids().postgres ?? 0, 'SIGKILL');
  const { code } = await launcher.exited;
  assert.is(code, 1);
  assert.match(launcher.log(), /PostgreSQL ended unexpectedly/);
});

test('leaves a process that died as it is, if told so, and stops all the same', async () => {
  const { launcher, data, pids } = await launch({ extra: ['--no-restart'], data: stack.data });
  process.kill(pids()['storage-proxy-us'] ?? 0, 'SIGKILL');
  assert.ok(await until(() => launcher.log().includes('It stays down.'), 20_000), launcher.log());
  assert.is(readPids(data)['storage-proxy-us'], 0);
  const { code } = await launcher.stop(30_000);
  assert.is(code, 0, launcher.log());
});

test('names a taken port, who needs it, and how to change it', async () => {
  const numbers = await freePorts(portNames.length);
  const [first = 0] = numbers;
  const server = createServer().listen(first, '127.0.0.1');
  atEnd(() => void server.close());
  const { code, log } = await failing({ ports: numbers });
  server.close();
  assert.is(code, 1);
  assert.match(log, `Port ${first} of 127.0.0.1 is taken by another program; gateway-us needs it`);
  assert.match(log, '--port gateway-us=PORT');
});

test('names a folder that cannot be written', async () => {
  const file = join(await temporaryFolder('stack'), 'a-file');
  writeFileSync(file, '');
  for (const data of [join(file, 'data'), '/proc/entrepot']) {
    const { code, log } = await failing({ data });
    assert.is(code, 1);
    assert.match(log, `The folder ${data} cannot be written`);
  }
});

test('names the data of another major version', async () => {
  const data = await temporaryFolder('stack');
  await mkdir(join(data, 'postgres', 'data'), { recursive: true });
  writeFileSync(join(data, 'postgres', 'data', 'PG_VERSION'), '12\n');
  const { code, log } = await failing({ data });
  assert.is(code, 1);
  assert.match(log, `The data in ${join(data, 'postgres', 'data')} are of PostgreSQL 12`);
});

test('names a wrong argument', async () => {
  const { code, log } = await failing({ extra: ['--port', 'gateway-ap=1'] });
  assert.is(code, 1);
  assert.match(log, '--port gateway-ap=1: write NAME=PORT');
});

test.run();
