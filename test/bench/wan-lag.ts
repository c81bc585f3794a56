/**
 * How long after its push an image is whole in the other region, over a long wire: `npm run bench:lag`. Nothing is
 * asserted. Images are pushed in us as fast as its gateway takes them, while eu's worker copies them; the times are those
 * of the replication events: from the push of the manifest to the last blob's verified copy.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { distFolder } from '../support/process.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';
import { layWire, wanNeeds } from '../wan/wan.js';
import { startOurs } from './wan-ours.js';

const help = `Usage: npm run bench:lag -- [options]

  --images N       how many (default 10000)
  --at-a-time N    pushes at a time (default 8)
  --delay MS       one way (default 40)
  --loss PERCENT   (default 0)
  --rate MBIT      each direction (default 1000)`;

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '10000' },
    'at-a-time': { type: 'string', default: '8' },
    delay: { type: 'string', default: '40' },
    loss: { type: 'string', default: '0' },
    rate: { type: 'string', default: '1000' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit(0);
}

const bench = suite('bench', { timeoutMs: 3_600_000, needs: wanNeeds });

bench('from the push to the verified copy', async () => {
  const wire = { delayMs: Number(values.delay), lossPercent: Number(values.loss), rateMbit: Number(values.rate) };
  const wan = await layWire(wire);
  console.log(
    `\n\n${wire.rateMbit} Mbit/s, ${2 * wire.delayMs} ms there and back, ${wire.lossPercent} % loss, ` +
      `${wan.congestionControl}; ${cpus().length} cores, Node.js ${process.version}`,
  );
  const ours = await startOurs(wan, 8);
  const gateway = await ours.startGateway();
  const script = `${distFolder}/test/bench/push-images.js`;
  const pushed = await wan.us.run(process.execPath, [script, gateway, values.images, values['at-a-time']], 3_600_000);
  console.log(pushed.trim());
  const arrived = async () => {
    const [row] = await ours.sql(`select count(*)::int as n from replicationevent where location = 'eustorage'`);
    return Number(row?.n);
  };
  if (!(await until(async () => (await arrived()) >= Number(values.images), 600_000)))
    throw new Error(`only ${await arrived()} of ${values.images} images arrived`);
  const [row] = await ours.sql(
    `select percentile_disc(array[0.5, 0.99, 0.9999, 1]) within group (order by completed_at - pushed_at) as lags
       from (select extract(epoch from completed_at) as completed_at, extract(epoch from pushed_at) as pushed_at
               from replicationevent where location = 'eustorage') e`,
  );
  const [p50, p99, p9999, most] = ((row?.lags ?? []) as number[]).map(lag => `${lag.toFixed(2)} s`);
  console.log(`push to verified: p50 ${p50}, p99 ${p99}, p99.99 ${p9999}, most ${most}`);
});

bench.run();
