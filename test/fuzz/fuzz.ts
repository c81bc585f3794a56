/**
 * Asks two regions for thousands of things that no client should ask: single requests that are wrong in some way, and
 * sequences that are right except for one step. There must be an orderly answer to each; and when all is over, the
 * processes must hold no more than before, and nothing may be left of uploads that nobody finished.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { ociClient, sha256 } from '../support/oci-client.js';
import type { StartedProcess } from '../support/process.js';
import { type PartName, type Stack, startStack } from '../support/stack.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';
import { type Fixtures, pushFixtures } from './fixtures.js';
import { complaintOf } from './judge.js';
import { singleRequest } from './requests.js';
import { type Exchange, Sequence } from './sequence.js';
import { sequence } from './steps.js';
import { growth, Probes, type Usage } from './usage.js';
import { send } from './wire.js';

export interface FuzzOptions {
  /** The same seed asks the same things. */
  readonly seed: number;
  /** How many single requests, and how many sequences. */
  readonly requests: number;
  readonly sequences: number;
  /** Ends earlier after so long. */
  readonly timeLimitMs: number;
}

const MIB = 1024 ** 2;
const MOST_GROWTH_BYTES = 20 * MIB;
/** A gateway keeps 32 MiB of manifests at the most, outside of the heap. */
const MOST_GROWTH_OUTSIDE_BYTES = 32 * MIB + MOST_GROWTH_BYTES;
const watched: readonly PartName[] = ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'];

/** How many 503 a run may have: a crowded machine may take a node for dead for a moment. Never one that lasts. */
const FORGIVEN_503 = 3;

export async function fuzz(options: FuzzOptions): Promise<void> {
  const probes = new Probes(await temporaryFolder('probes'));
  const stack = await startStack({
    parts: watched,
    env: probes.environment,
    config: { MAXIMUM_LAYER_SIZE: '4M' },
  });
  const client = ociClient(stack.us);
  const fixtures = await pushFixtures(client);
  client.close();
  const processes = watched.map(name => stack.part(name));
  const fuzzer = new Fuzzer(stack, fixtures);

  // The same kinds of requests before anything is measured: pools fill up, code is compiled.
  await fuzzer.run({ ...options, seed: options.seed ^ 1, requests: 300, sequences: 40 });
  await fillPools(stack);
  const before = await measured(probes, processes);
  await fuzzer.run(options);
  console.log(`   ${fuzzer.summary()}`);
  for (const [index, process] of processes.entries()) {
    await assertNoGrowth(probes, process, before[index] as Usage);
    const troubles = process
      .log()
      .split('\n')
      .filter(line => /Warning:|"level":"(error|fatal)"/.test(line));
    assert.equal(troubles.slice(0, 5), [], process.name);
  }
  await assertNothingLeft(stack);
}

class Fuzzer {
  readonly #ports: readonly number[];
  readonly #fixtures: Fixtures;
  readonly #statuses = new Map<string, number>();
  #sequences = 0;
  #unavailable = 0;
  #failed = false;

  constructor(stack: Stack, fixtures: Fixtures) {
    this.#ports = [stack.ports['gateway-us'], stack.ports['gateway-eu']];
    this.#fixtures = fixtures;
  }

  /** Single requests and sequences at the same time. Throws what fast-check says of the first failure. */
  async run({ seed, requests, sequences, timeLimitMs }: FuzzOptions): Promise<void> {
    const limits = { seed, interruptAfterTimeLimit: timeLimitMs };
    const single = fc.asyncProperty(singleRequest(this.#fixtures), async ({ region, ...request }) => {
      await this.#told(this.#exchange(region, request).then(() => {}));
    });
    const steps = fc.asyncProperty(sequence, async each => {
      const repository = `sequence/n${this.#sequences++}`;
      await this.#told(new Sequence(repository, this.#fixtures, this.#exchange).run(each));
    });
    const reports = await Promise.all([
      fc.check(single, { ...limits, numRuns: requests }).then(reportOf),
      fc.check(steps, { ...limits, numRuns: sequences }).then(reportOf),
    ]);
    const report = reports.find(each => each !== undefined);
    if (report !== undefined) throw new Error(report);
  }

  /** How often each status was answered. */
  summary(): string {
    const counts = [...this.#statuses].sort().map(([status, count]) => `${status} ${count} times`);
    return `${this.#sequences} sequences; answers: ${counts.join(', ')}`;
  }

  readonly #exchange: Exchange = async (region, request) => {
    const outcome = await send(this.#ports[region] ?? 0, request);
    const [answer] = outcome.answers;
    const status = String(answer?.status ?? 'none');
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
    if (status === '503' && ++this.#unavailable <= FORGIVEN_503) return answer;
    const complaint = complaintOf(request, outcome);
    if (complaint) throw new Error(complaint);
    return answer;
  };

  /** Tells of the first failure at once: to find a smaller one for it takes a while. */
  async #told(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!this.#failed) console.log(`   failed, and is made smaller now: ${error}`);
      this.#failed = true;
      throw error;
    }
  }
}

/** What is to be known of a failure; undefined if there was none. */
function reportOf<T>({ failed, errorInstance, counterexample, numRuns, numShrinks }: fc.RunDetails<T>) {
  if (!failed) return undefined;
  const readable = (_key: string, value: unknown) =>
    isBuffer(value)
      ? `${value.data.length} bytes: ${Buffer.from(value.data).toString('latin1').slice(0, 1_000)}`
      : value;
  const reason = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  return `case ${numRuns}, made smaller ${numShrinks} times: ${reason}\n${JSON.stringify(counterexample, readable, 1)}`;
}

/** As JSON.stringify passes it on. */
function isBuffer(value: unknown): value is { data: number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer';
}

/**
 * Has each gateway open all the connections that it keeps, to PostgreSQL and to the stores of both regions: many requests
 * at once, and blobs that each gateway reads from the other region.
 */
async function fillPools({ us, eu }: Stack): Promise<void> {
  const clients = [us, eu].map(base => ociClient(base));
  const blob = Buffer.alloc(900_000, 'x');
  for (const [number, client] of clients.entries())
    await client.pushBlob('pools', Buffer.concat([blob, Buffer.from([number])]));
  const digests = [0, 1].map(number => sha256(Buffer.concat([blob, Buffer.from([number])])));
  await Promise.all(
    clients.flatMap(client => [
      ...Array.from({ length: 100 }, () => client.request('GET', '/v2/_catalog')),
      ...digests.flatMap(digest => Array.from({ length: 16 }, () => client.pullBlob('pools', digest))),
    ]),
  );
  for (const client of clients) client.close();
}

async function measured(probes: Probes, processes: readonly StartedProcess[]): Promise<Usage[]> {
  // What ends by itself has ended by then: connections that were closed, their timers.
  await new Promise(resolve => setTimeout(resolve, 1_000));
  return Promise.all(processes.map(each => probes.ask(each)));
}

/** Waits for what ends by itself. */
async function assertNoGrowth(probes: Probes, process: StartedProcess, before: Usage): Promise<void> {
  let after = await probes.ask(process);
  const settled = await until(async () => {
    after = await probes.ask(process);
    return growth(before, after).length === 0;
  }, 20_000);
  const heap = after.heapBytes - before.heapBytes;
  const external = after.externalBytes - before.externalBytes;
  console.log(
    `   ${process.name}: heap ${Math.round(before.heapBytes / MIB)} MiB ${signed(heap)}, outside of it ${signed(external)}`,
  );
  assert.ok(settled, `${process.name} holds more than before: ${growth(before, after).join(', ')}`);
  assert.ok(heap <= MOST_GROWTH_BYTES, `the heap of ${process.name} has grown by ${signed(heap)}`);
  assert.ok(external <= MOST_GROWTH_OUTSIDE_BYTES, `the buffers of ${process.name} have grown by ${signed(external)}`);
}

function signed(bytes: number): string {
  return `${bytes < 0 ? '' : '+'}${(bytes / MIB).toFixed(1)} MiB`;
}

/** Lets the uploads that nobody finished expire: no row and no file of them may stay. */
async function assertNothingLeft(stack: Stack): Promise<void> {
  const unfinished = await left(stack);
  console.log(`   before expiry: ${unfinished.length} rows and files of uploads`);
  assert.ok(unfinished.length > 0, 'nothing was left unfinished: too little was asked');
  await stack.sql("update blobupload set updated_at = now() - interval '1 year', lease_until = null");
  await stack.start('worker-us');
  await stack.start('worker-eu');
  await until(async () => (await left(stack)).length === 0, 20_000);
  assert.equal(await left(stack), []);
}

/** What there is of unfinished uploads. */
async function left(stack: Stack): Promise<string[]> {
  const rows = await stack.sql('select uuid from blobupload');
  const files = await Promise.all(['usstorage', 'eustorage'].map(name => uploadFiles(stack.storagePath(name))));
  return [...rows.map(row => `the row of ${row.uuid}`), ...files.flat()];
}

/** The files of unfinished uploads in a store. */
async function uploadFiles(storage: string): Promise<string[]> {
  try {
    const entries = await readdir(storage, { recursive: true, withFileTypes: true });
    return entries
      .filter(entry => entry.isFile() && entry.parentPath.startsWith(join(storage, 'uploads')))
      .map(entry => join(entry.parentPath, entry.name));
  } catch (error) {
    return [`${storage} changes just now: ${error}`];
  }
}
