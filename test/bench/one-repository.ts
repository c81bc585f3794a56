/**
 * Whether pushes into one repository wait for each other: `npm run bench:one-repository`. Nothing is asserted. Small images
 * are pushed sixteen at a time, all into one repository, and each pusher into one of its own; the ratio says how much of
 * the speed is left in one. What makes pushes wait for each other is a lock that is held until a commit is on the disk,
 * so the second round makes commits slow: whatever serialises there is as slow as its commits.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { suite } from '../support/suite.js';
import { type Candidate, settleDisk, startOurs } from './candidates.js';
import { Client } from './client.js';
import { pushSmallImage } from './pushes.js';

const help = `Usage: npm run bench:one-repository -- [options]

  --images N      how many in each round (default 320)
  --rounds N      how often each is measured (default 5)
  --commit-ms N   how long a slow commit takes at least (default 20)`;

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '320' },
    rounds: { type: 'string', default: '5' },
    'commit-ms': { type: 'string', default: '20' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit(0);
}

const AT_A_TIME = 16;
const bench = suite('bench', { timeoutMs: 3_600_000 });

bench('commits as fast as the disk', async () => compare(await startOurs()));

bench('slow commits', async () => {
  const delay = String(Number(values['commit-ms']) * 1_000);
  // PostgreSQL waits so long before each flush, for others that could share it.
  await compare(await startOurs(undefined, { commit_delay: delay, commit_siblings: '0' }));
});

async function compare({ port }: Candidate): Promise<void> {
  const rates = { one: [] as number[], sixteen: [] as number[] };
  // The first is not counted: everything is new to everybody.
  await rate(port, 'warm', () => '/v2/bench/warm');
  for (let round = 0; round < Number(values.rounds); round++) {
    rates.one.push(await rate(port, `r${round}`, () => '/v2/bench/one'));
    rates.sixteen.push(await rate(port, `r${round}`, pusher => `/v2/bench/of-${pusher}`));
  }
  const [one, sixteen] = [median(rates.one), median(rates.sixteen)];
  console.log(
    `${cpus().length} cores, ${AT_A_TIME} at a time: ${one.toFixed(1)} images/s into one repository, ` +
      `${sixteen.toFixed(1)} into ${AT_A_TIME}: ratio ${(one / sixteen).toFixed(2)}`,
  );
}

/** Images per second. */
async function rate(port: number, tag: string, repositoryOf: (pusher: number) => string): Promise<number> {
  const client = new Client(port, AT_A_TIME);
  await settleDisk();
  let next = 0;
  const push = async (_: unknown, pusher: number) => {
    for (let number = next++; number < Number(values.images); number = next++) {
      await pushSmallImage(client, repositoryOf(pusher), `${tag}-${number}`);
    }
  };
  const begun = performance.now();
  await Promise.all(Array.from({ length: AT_A_TIME }, push));
  const seconds = (performance.now() - begun) / 1_000;
  client.close();
  return Number(values.images) / seconds;
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

bench.run();
