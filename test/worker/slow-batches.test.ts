/** Small blobs whose batches fail again and again, since the link is too slow for them: each goes by itself then. */
import * as assert from 'uvu/assert';
import type { Location } from '../../lib/locations/location.js';
import { digestOf } from '../../lib/oci/digest.js';
import { WorkerMetrics } from '../../lib/telemetry/worker-metrics.js';
import { Crossings } from '../../worker/crossing/crossings.js';
import type { Outcome } from '../../worker/replicate/batch.js';
import { Copies } from '../../worker/replicate/copies.js';
import { type HeldJob, Leases } from '../../worker/replicate/leases.js';
import { Outcomes } from '../../worker/replicate/outcomes.js';
import { Throttle } from '../../worker/replicate/throttle.js';
import { ScriptedSource } from '../locations/scripted-source.js';
import { pattern } from '../support/bytes.js';
import { quiet } from '../support/clients.js';
import { suite } from '../support/suite.js';
import { ScriptedReplication, ScriptedTarget, TargetLocation } from './scripted-target.js';

const test = suite('worker: small blobs over a slow link');
const BLOB = pattern(300_000, 5);
const digest = digestOf(BLOB);
const signal = new AbortController().signal;

/** A source that fails every batch, as one does from which it does not come in time, and gives bytes by the piece. */
class Source extends ScriptedSource {
  readonly target = new ScriptedTarget();
  readonly #target = new TargetLocation(this.target);

  constructor() {
    super(BLOB, 1_000);
    this.onCall = call => call.give();
  }
  override get(name: string): Location | undefined {
    return name === 'target' ? this.#target : super.get(name);
  }
}

class Noted extends Outcomes {
  readonly all: Outcome[] = [];

  override async record(outcomes: readonly Outcome[]): Promise<void> {
    this.all.push(...outcomes);
  }
}

/** What becomes of a job that is tried for the `attempts`th time. */
async function tried(attempts: number) {
  const locations = new Source();
  const crossings = new Crossings();
  const replication = new ScriptedReplication();
  const leases = new Leases(replication, quiet);
  const metrics = new WorkerMetrics('worker', 'test');
  const outcomes = new Noted({ replication, locations, leases, metrics, log: quiet, ending: signal });
  const throttle = new Throttle();
  const job: HeldJob = {
    ...{ id: '1', token: '', digest, size: BLOB.length, target: 'target', sources: ['scripted'], attempts },
    ...{ checkpoint: undefined, traceId: undefined, cause: undefined, signal },
  };
  try {
    const copies = new Copies({
      ...{ locations, replication, outcomes, crossings },
      throttleOf: () => throttle,
      ending: signal,
    });
    await copies.batch([job]);
  } finally {
    leases.close();
    crossings.close();
  }
  const [outcome] = outcomes.all;
  assert.is(outcomes.all.length, 1);
  return { isDone: outcome?.error === undefined, got: Buffer.concat(locations.target.got) };
}

test('three times a blob is tried in a batch, and then by itself, at the pace at which it comes', async () => {
  for (const attempts of [1, 2, 3]) assert.not((await tried(attempts)).isDone, `try ${attempts}`);
  for (const attempts of [4, 5, 100]) {
    const { isDone, got } = await tried(attempts);
    assert.ok(isDone, `try ${attempts}`);
    assert.ok(got.equals(BLOB));
  }
});

test.run();
