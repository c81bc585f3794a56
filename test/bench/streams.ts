/**
 * What a byte costs on its way: `npm run bench:streams`. Nothing is asserted. One blob is read from a storage-proxy, written
 * to another, and copied from the one to the other as a worker does it, here in this process; the table shows the CPU
 * time that each process took for it, per GiB, and the rate. CPU time hardly depends on what else the machine does.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Location } from '../../lib/locations/location.js';
import { Locations } from '../../lib/locations/locations.js';
import { readBlob } from '../../lib/locations/read.js';
import type { Checkpoint } from '../../lib/locations/store.js';
import { StripedRead } from '../../lib/locations/striped.js';
import { type Digest, endHash, newHash } from '../../lib/oci/digest.js';
import { prepareForStreams } from '../../lib/process/run.js';
import { checkHealth } from '../../lib/rpc/health.js';
import { startCeph } from '../stores/ceph.js';
import { makeBucket, radosArguments } from '../stores/store.js';
import { quiet } from '../support/clients.js';
import { freePort } from '../support/ports.js';
import { type StartedProcess, startProcess } from '../support/process.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const help = `Usage: npm run bench:streams -- [options]

  --blob N      MiB of the blob (default 512)
  --rounds N    how often each is measured, for the median (default 3)
  --only TEXT   only the measures whose name contains this
  --ceph        us keeps its blobs in Ceph RGW instead of on the disk`;

const { values } = parseArgs({
  options: {
    blob: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    ceph: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit(0);
}

const MIB = 1024 * 1024;
const size = Number(values.blob) * MIB;
const rounds = Number(values.rounds);
const bench = suite('bench', { timeoutMs: 3_600_000 });

interface Costs {
  readonly seconds: number;
  /** CPU seconds: of this process, and of the two storage-proxies. */
  readonly own: number;
  readonly us: number;
  readonly eu: number;
}

bench('what a byte costs', async () => {
  prepareForStreams();
  const bucket = values.ceph ? await makeBucket(await startCeph()) : undefined;
  const us = await startNode('usstorage', bucket && ['RadosGWStorage', radosArguments(bucket)]);
  const eu = await startNode('eustorage');
  const open = (preference: string[]) => openAll({ usstorage: us.address, eustorage: eu.address }, preference);
  const [near, far] = [await open(['usstorage', 'eustorage']), await open(['eustorage', 'usstorage'])];
  const [source, target] = [at(near, 'usstorage'), at(far, 'eustorage')];
  const noise = Array.from({ length: 16 }, () => randomBytes(MIB));
  const digest = digestOf(noise);
  await write(source, noise, digest);

  const measures: Record<string, () => Promise<void>> = {
    'read, near': async () => {
      const range = { offset: 0, length: size };
      const { bytes } = await readBlob({ locations: near, digest, size, holders: ['usstorage'], range, context: {} });
      await drain(bytes);
    },
    'write, near': () => write(target, noise, digest),
    'striped read, far': async () => {
      const read = stripedRead(far, digest);
      for await (const piece of read.bytes()) {
        received += piece.length;
        read.kept(received);
      }
    },
    'copy from afar': async () => {
      const read = stripedRead(far, digest);
      const begun = await target.store.begin({ digest });
      const note = ({ offset }: Checkpoint) => read.kept(offset);
      const last = await target.store.append(begun.session, read.bytes(), note, {}, begun.offset);
      await target.store.commit(last.session, digest);
    },
  };
  console.log(`\nNode.js ${process.version}, ${rounds} rounds, blob of ${values.blob} MiB; CPU seconds per GiB\n`);
  console.log(row(['', 'MB/s', 'this process', 'proxy us', 'proxy eu', 'together']));
  let received = 0;
  for (const [name, work] of Object.entries(measures).filter(([each]) => each.includes(values.only))) {
    const all: Costs[] = [];
    for (let round = 0; round < rounds; round++) {
      received = 0;
      all.push(await costsOf(work, us, eu));
      await target.store.remove(digest);
    }
    const medianOf = (key: keyof Costs) => Math.min(...all.map(costs => costs[key]));
    const perGib = (key: keyof Costs) => (medianOf(key) * 1024 * MIB) / size;
    const cells = (['own', 'us', 'eu'] as const).map(perGib);
    const together = cells.reduce((sum, each) => sum + each, 0);
    const rate = size / 1e6 / medianOf('seconds');
    console.log(row([name, rate.toFixed(0), ...[...cells, together].map(each => each.toFixed(2))]));
  }
});

type Node = StartedProcess & { readonly address: string };

/** On the disk, if nothing else is said. */
async function startNode(location: string, engine?: readonly [string, object]): Promise<Node> {
  const folder = join(await temporaryFolder('bench-streams'), location);
  await mkdir(folder);
  const address = `127.0.0.1:${await freePort()}`;
  const started = await startProcess({
    name: location,
    script: 'storage-proxy/main.js',
    config: {
      DISTRIBUTED_STORAGE_CONFIG: { [location]: engine ?? ['LocalStorage', { storage_path: folder }] },
      DISTRIBUTED_STORAGE_PREFERENCE: [location],
      ENTREPOT_STORAGE_PROXY_LISTEN: address,
    },
    ready: () => checkHealth(address, 'entrepot.storage.write', 500),
  });
  return Object.assign(started, { address });
}

async function openAll(nodes: Readonly<Record<string, string>>, preference: string[]): Promise<Locations> {
  const locations = new Locations({
    locations: Object.entries(nodes).map(([name, address]) => ({ name, nodes: [address] })),
    preference,
    identify: async () => true,
    log: quiet,
  });
  atEnd(() => locations.close());
  await locations.settle(5_000);
  return locations;
}

function at(locations: Locations, name: string): Location {
  const location = locations.get(name);
  if (!location) throw new Error(`no location ${name}`);
  return location;
}

function stripedRead(locations: Locations, digest: Digest): StripedRead {
  const { readAhead: budget } = locations;
  return new StripedRead({
    locations,
    digest,
    size,
    from: 0,
    holders: ['usstorage'],
    context: {},
    budget,
    transient: true,
  });
}

async function write({ store }: Location, noise: readonly Buffer[], digest: Digest): Promise<void> {
  const begun = await store.begin({ digest });
  const last = await store.append(begun.session, source(noise), () => {}, {}, begun.offset);
  await store.commit(last.session, digest);
}

async function* source(noise: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* pieces(noise);
}

/** In pieces as a socket gives them. */
function* pieces(noise: readonly Buffer[]): Generator<Buffer> {
  const PIECE = 64 * 1024;
  for (let left = size, turn = 0; left > 0; turn++) {
    const block = noise[turn % noise.length] ?? Buffer.alloc(0);
    for (let from = 0; from < block.length && left > 0; from += PIECE) {
      const piece = block.subarray(from, Math.min(from + PIECE, from + left));
      left -= piece.length;
      yield piece;
    }
  }
}

function digestOf(noise: readonly Buffer[]): Digest {
  const hash = newHash('sha256');
  for (const piece of pieces(noise)) hash.update(piece);
  return endHash('sha256', hash);
}

async function drain(bytes: AsyncIterable<Buffer>): Promise<void> {
  let total = 0;
  for await (const piece of bytes) total += piece.length;
  if (total !== size) throw new Error(`${total} bytes of ${size} came`);
}

async function costsOf(work: () => Promise<void>, us: Node, eu: Node): Promise<Costs> {
  const before = [process.cpuUsage(), await cpuSeconds(us), await cpuSeconds(eu)] as const;
  const began = performance.now();
  await work();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before[0]);
  const own = (user + system) / 1e6;
  return { seconds, own, us: (await cpuSeconds(us)) - before[1], eu: (await cpuSeconds(eu)) - before[2] };
}

/** What a process has used so far, as the kernel counts it: in hundredths. */
async function cpuSeconds({ pid }: Node): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function row([name = '', ...cells]: readonly string[]): string {
  return name.padEnd(22) + cells.map(cell => cell.padStart(14)).join('');
}

bench.run();
