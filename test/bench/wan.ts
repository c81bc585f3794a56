/**
 * How fast copies cross a long wire (test/wan): `npm run bench:wan`. Nothing is asserted. Beside them, in the same run
 * over the same wire: what iperf3 can do with eight connections, and `skopeo sync` near the destination between two
 * registries of the usual kind. Everything shares the machine's cores, the wire too: the ratios are what counts.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { hexOf } from '../../lib/oci/digest.js';
import { linkTo, type MadeBlob, makeBlobs } from '../support/made-blobs.js';
import { findCommand } from '../support/needs.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { layWire, type Wan, wanNeeds } from '../wan/wan.js';
import { startDistribution } from './wan-distribution.js';
import { startOurs } from './wan-ours.js';

const help = `Usage: npm run bench:wan -- [options]

  --delay MS       one way (default 40)
  --loss PERCENT   one or more, separated by commas (default 0,0.1)
  --rate MBIT      each direction (default 1000)
  --congestion X   the congestion control, one of net.ipv4.tcp_allowed_congestion_control; the kernel's own if absent
  --rounds N       how often each is measured (default 1)
  --at-a-time N    copies at a time (default 8)
  --only TEXT      only the loads whose name contains this
  --part N         only one Nth of each load's bytes, for a quick look
  --offload        the ends of the wire take and hand over many segments as one, as network cards do; without, each
                   packet costs the machine's cores what such cards would spare them
  --memory MIB     what each storage-proxy, and each registry beside them, may use, its files in the kernel's memory
                   included (default 1024, as the Helm chart has it); 0: no limit. Without one, a copy takes new memory
                   for all that it writes, and a virtual machine that gives its unused memory back must ask its host for
                   each page: ten times what writing it costs
  --ours           without skopeo`;

const { values } = parseArgs({
  options: {
    delay: { type: 'string', default: '40' },
    loss: { type: 'string', default: '0,0.1' },
    rate: { type: 'string', default: '1000' },
    congestion: { type: 'string' },
    rounds: { type: 'string', default: '1' },
    'at-a-time': { type: 'string', default: '8' },
    only: { type: 'string', default: '' },
    part: { type: 'string', default: '1' },
    offload: { type: 'boolean', default: false },
    memory: { type: 'string', default: '1024' },
    ours: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit(0);
}

const MIB = 1024 * 1024;
const part = Number(values.part);
const memory = Number(values.memory) * MIB || undefined;

/** What is to be copied. As images, `layers` go into each. */
const loads = [
  { name: '1 blob of 2 GiB', count: 1, size: (2048 * MIB) / part, layers: 1 },
  { name: '10 blobs of 200 MiB', count: 10, size: (200 * MIB) / part, layers: 10 },
  { name: '5,000 blobs of 4 KiB', count: 5_000 / part, size: 4096, layers: 100 },
].filter(({ name }) => name.includes(values.only));

/**
 * Before all of them: the connections are opened, and find their speed. It is shown by itself, and no ratio of it, since
 * iperf3 leaves out the second in which its own do so.
 */
const first = { name: 'first of all, 128 MiB', count: 1, size: 128 * MIB, layers: 1 };

const bench = suite('bench', { timeoutMs: 3_600_000, needs: wanNeeds });

for (const loss of values.loss.split(',').map(Number)) {
  bench(`over a long wire, ${loss} % loss`, async () => {
    const wire = {
      delayMs: Number(values.delay),
      lossPercent: loss,
      rateMbit: Number(values.rate),
      offload: values.offload,
    };
    const wan = await layWire(wire, values.congestion);
    console.log(
      `\n\n${wire.rateMbit} Mbit/s, ${2 * wire.delayMs} ms there and back, ${loss} % loss, ${wan.congestionControl}` +
        `${values.offload ? ', offload' : ''}; ` +
        `${memory ? `${values.memory} MiB for each node, ` : ''}` +
        `${cpus().length} cores, Node.js ${process.version}`,
    );
    const ours = await startOurs(wan, Number(values['at-a-time']), memory);
    const peer = values.ours ? undefined : await startDistribution(wan, memory);
    console.log(row(['', 'entrepot, s', 'Mbit/s', 'iperf3 -P 8', 'ratio', 'skopeo, s', 'ratio']));
    const rounds = loads.flatMap(load => Array.from({ length: Number(values.rounds) }, () => load));
    for (const load of [first, ...rounds]) {
      const blobs = await makeBlobs(join(await temporaryFolder('blobs'), 'made'), load.count, load.size);
      for (const blob of blobs) await linkTo(blob, sourcePath(ours.source, blob));
      const seconds = await ours.copy(blobs);
      const rate = (load.count * load.size * 8) / seconds / 1e6;
      const cells = [load.name, seconds.toFixed(1), rate.toFixed(0)];
      if (load !== first) {
        const raw = await iperf(wan, Math.max(6, Math.min(60, Math.round(seconds))));
        cells.push(raw.toFixed(0), load.size > MIB ? (rate / raw).toFixed(2) : '–');
        const theirs = await peer?.copy(blobs, load.layers);
        if (theirs !== undefined) cells.push(theirs.toFixed(1), (theirs / seconds).toFixed(1));
      }
      console.log(row(cells));
      for (const { path } of blobs) await rm(path);
      for (const blob of blobs) await rm(sourcePath(ours.source, blob));
    }
  });
}

function sourcePath(source: string, { digest }: MadeBlob): string {
  return join(source, 'sha256', hexOf(digest).slice(0, 2), hexOf(digest));
}

/**
 * What eight connections carry from us to eu, in Mbit/s, in so many seconds after the one in which they find their speed:
 * as many as the copy took, since some congestion controls become slower for a long time, and others pause now and then.
 */
async function iperf({ us, eu }: Wan, seconds: number): Promise<number> {
  if (!findCommand('iperf3')) return Number.NaN;
  const [program = '', ...parameters] = [...eu.through, 'iperf3', '-s', '-1', '--forceflush'];
  const server = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(server, 'exit');
  await once(server.stdout, 'data');
  const answer = JSON.parse(
    await us.run(
      'iperf3',
      ['-c', eu.address, '-P', '8', '-t', String(seconds), '-O', '1', '-J'],
      (seconds + 30) * 1_000,
    ),
  );
  await exited;
  return answer.end.sum_received.bits_per_second / 1e6;
}

function row([name = '', ...cells]: readonly string[]): string {
  return name.padEnd(22) + cells.map(cell => cell.padStart(13)).join('');
}

bench.run();
