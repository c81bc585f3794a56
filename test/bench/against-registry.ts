/**
 * How fast one region is, beside another registry on the same disk in the same run: `npm run bench`. Nothing is asserted.
 * The registries take turns, so that what else the machine does meets them alike; the table shows medians, and by how
 * much the median of ours is larger. Everything shares the machine's cores: the client too, whose limit is shown beside.
 */
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { startCeph } from '../stores/ceph.js';
import { makeBucket } from '../stores/store.js';
import { suite } from '../support/suite.js';
import { type Candidate, startBare, startDistribution, startOurs } from './candidates.js';
import { measures, type Sizes } from './measures.js';

const help = `Usage: npm run bench -- [options]

  --rounds N    how often each is measured (default 5)
  --blob N      MiB of the large blob (default 1024)
  --only TEXT   only the measures whose name contains this
  --ours        only our own registry
  --ceph        keep the blobs in Ceph RGW, each registry in a bucket of its own, instead of on the disk`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    blob: { type: 'string', default: '1024' },
    only: { type: 'string', default: '' },
    ours: { type: 'boolean', default: false },
    ceph: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit(0);
}
const rounds = Number(values.rounds);
const sizes: Sizes = { blob: Number(values.blob) * 1024 * 1024, manifestMs: 3_000, images: 100 };
const bench = suite('bench', { timeoutMs: 3_600_000 });

bench('beside another registry', async () => {
  const candidates = await startAll();
  console.log(`\n${cpus().length} cores, Node.js ${process.version}, ${rounds} rounds, blob of ${values.blob} MiB`);
  const columns = ['', ...candidates.map(({ name }) => name), 'ratio'];
  console.log(row(columns));
  for (const measure of measures.filter(({ name }) => name.includes(values.only))) {
    const rates = new Map(candidates.map(candidate => [candidate, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      for (const candidate of candidates) rates.get(candidate)?.push(await measure.run(candidate, sizes));
    }
    const medians = candidates.map(candidate => median(rates.get(candidate) ?? []));
    const [ours = Number.NaN, peer = Number.NaN] = medians;
    const ratio = candidates.length === 3 ? (ours / peer).toFixed(2) : '–';
    console.log(row([`${measure.name}, ${measure.unit}`, ...medians.map(rate => rate.toFixed(0)), ratio]));
    console.log(row(['  peak memory so far, MiB', ...(await Promise.all(candidates.map(peakMemory)))]));
    if (process.env.DEBUG) for (const [{ name }, all] of rates) console.log(`   ${name}: ${all.map(Math.round)}`);
  }
});

/** Of all of its processes together, as the kernel saw it. */
async function peakMemory({ pids }: Candidate): Promise<string> {
  const status = await Promise.all(pids.map(pid => readFile(`/proc/${pid}/status`, 'utf8')));
  const kib = status.map(text => Number(/VmHWM:\s+(\d+) kB/.exec(text)?.[1]));
  return Math.round(kib.reduce((sum, each) => sum + each, 0) / 1024).toFixed(0);
}

/** Ours first, then the other, then the server that does nothing. */
async function startAll(): Promise<Candidate[]> {
  const ceph = values.ceph ? await startCeph() : undefined;
  const ours = await startOurs(ceph && (await makeBucket(ceph)));
  if (values.ours) return [ours];
  const peer = await startDistribution(ceph && (await makeBucket(ceph)));
  if (!peer) console.log('\nSKIPPED: docker-registry is not installed, so there is nothing to compare with.');
  const bare = await startBare(sizes.blob);
  return peer ? [ours, peer, bare] : [ours, bare];
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle) - 1] ?? Number.NaN)) / 2;
}

function row(cells: readonly string[]): string {
  return cells.map((cell, column) => (column === 0 ? cell.padEnd(40) : cell.padStart(14))).join('');
}

bench.run();
