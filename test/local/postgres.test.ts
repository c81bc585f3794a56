/** PostgreSQL as `npm start` runs it: whoever calls, whatever became of the start before. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { findBinaries } from '../../deploy/local/postgres/binaries.js';
import { type Cluster, startCluster } from '../../deploy/local/postgres/cluster.js';
import { openHome, withPlainPath } from '../../deploy/local/postgres/home.js';
import { freePort } from '../support/ports.js';
import { distFolder } from '../support/process.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { isAlive, until } from '../support/wait.js';

const test = suite('local PostgreSQL', { timeoutMs: 60_000 });
const isRoot = process.getuid?.() === 0;

async function start(folder: string): Promise<Cluster> {
  const cluster = await startCluster({
    folder: join(folder, 'postgres'),
    port: await freePort(),
    log: join(folder, 'postgres.log'),
    database: 'entrepot',
    // Nothing here is about power cuts, and initdb is much faster so.
    settings: { fsync: 'off' },
  });
  atEnd(() => cluster.stop('immediate'));
  return cluster;
}

async function failsWith(work: () => unknown, expected: RegExp): Promise<void> {
  try {
    await work();
  } catch (error) {
    assert.match(String(error), expected);
    return;
  }
  assert.unreachable(`nothing was thrown; expected ${expected}`);
}

test('keeps its data between starts, in a folder with an awkward name', async () => {
  const folder = join(await temporaryFolder('pg'), 'with space; and: colon, $HOME \\ "quotes" `date`');
  await mkdir(folder);
  const first = await start(folder);
  assert.ok(isAlive(first.pid ?? 0));
  const password = new URL(first.url).password;
  await first.stop();
  const second = await start(folder);
  assert.is(new URL(second.url).password, password);
  const { pid = 0 } = second;
  assert.ok(isAlive(pid));
  await second.stop();
  assert.not.ok(isAlive(pid));
});

test('initdb is run from a path that a shell takes as it is', async () => {
  const native = join(await temporaryFolder('pg'), 'a "$HOME"', 'package', 'native');
  await mkdir(join(native, 'bin'), { recursive: true });
  writeFileSync(join(native, '..', 'package.json'), '{}');
  writeFileSync(join(native, 'bin', 'initdb'), 'the program');
  const used = await withPlainPath(native, async folder => {
    assert.match(folder, /^[\w./-]+$/);
    assert.is(readFileSync(join(folder, 'bin', 'initdb'), 'utf8'), 'the program');
    return folder;
  });
  assert.not.ok(existsSync(used), 'the copy was left behind');
  assert.is(await withPlainPath('/a b;c:d', async folder => folder), '/a b;c:d');
});

test('a mark that a dead server left does not hinder a start, even if its number is in use', async () => {
  const folder = await temporaryFolder('pg');
  await (await start(folder)).stop();
  const mark = join(folder, 'postgres', 'data', 'postmaster.pid');
  writeFileSync(mark, `${process.pid}\n${join(folder, 'postgres', 'data')}\n1\n5432\n\n127.0.0.1\n\nready\n`);
  if (isRoot) execFileSync('chown', ['--reference', join(folder, 'postgres', 'data'), mark]);
  await (await start(folder)).stop();
});

test('refuses the data of another major version, and names both', async () => {
  const folder = await temporaryFolder('pg');
  await (await start(folder)).stop();
  writeFileSync(join(folder, 'postgres', 'data', 'PG_VERSION'), '15\n');
  await failsWith(() => start(folder), /data are of PostgreSQL 15, and the installed one is PostgreSQL 18/);
});

test('refuses a platform for which there is no package, and names those that work', async () => {
  await failsWith(() => findBinaries('sunos', 'x64'), /no PostgreSQL on npm for sunos-x64\. This works on linux-x64/);
});

test('ends within 5 s when its owner is killed, and goes on from there', async () => {
  const folder = await temporaryFolder('pg');
  const port = await freePort();
  const script = `
    import { startCluster } from ${JSON.stringify(join(distFolder, 'deploy/local/postgres/cluster.js'))};
    const [folder, port] = ${JSON.stringify([folder, port])};
    const options = { folder: folder + '/postgres', port, log: folder + '/postgres.log', database: 'entrepot' };
    console.log((await startCluster(options)).pid);
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = await once(owner.stdout, 'data');
  const pid = Number(String(said));
  assert.ok(isAlive(pid));
  owner.kill('SIGKILL');
  assert.ok(await until(() => !isAlive(pid), 8_000), 'PostgreSQL outlived its owner');
  await (await start(folder)).stop();
});

test('ends a server that has lost both owner and keeper before it starts another', async () => {
  const folder = await temporaryFolder('pg');
  const first = await start(folder);
  const orphan = first.pid ?? 0;
  const keeper = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${orphan}/stat`, 'latin1'))?.[1]);
  process.kill(orphan, 'SIGSTOP');
  process.kill(keeper, 'SIGKILL');
  await first.exited;
  process.kill(orphan, 'SIGCONT');
  const second = await start(folder);
  assert.not.ok(isAlive(orphan));
  await second.stop();
});

for (const way of ['namespace', 'nobody', 'copy'] as const) {
  const run = async () => {
    const parent = await temporaryFolder('pg');
    const folder = join(parent, 'project');
    await mkdir(folder);
    // What /root is like: only for its owner.
    if (way !== 'nobody') await chmod(parent, 0o700);
    process.env.ENTREPOT_POSTGRES_RUN_AS = way;
    try {
      const cluster = await start(folder);
      const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${cluster.pid}/status`, 'utf8'))?.[1];
      assert.is(uid, way === 'namespace' ? '0' : '65534');
      await cluster.stop();
      const { folder: real } = openHome(join(folder, 'postgres'));
      if (way === 'copy') {
        assert.match(real, /^\/var\/lib\/entrepot-[0-9a-f]{12}$/);
        atEnd(() => rm(real, { recursive: true }));
      } else assert.is(real, join(folder, 'postgres'));
    } finally {
      delete process.env.ENTREPOT_POSTGRES_RUN_AS;
    }
  };
  if (isRoot && process.platform === 'linux') test(`root runs it, by way of: ${way}`, run);
  else test.skip(`root runs it, by way of: ${way}`);
}

test('says why, when nobody can run it', async () => {
  const folder = await temporaryFolder('pg');
  process.env.ENTREPOT_POSTGRES_RUN_AS = 'magic';
  try {
    await failsWith(() => start(folder), /PostgreSQL cannot be run on .*magic is none of/);
  } finally {
    delete process.env.ENTREPOT_POSTGRES_RUN_AS;
  }
});

test.run();
