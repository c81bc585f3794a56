/**
 * How long a push waits for its write quorum: as long as the configuration says, which is a minute if it says nothing. The
 * handler and the database are real; the clock that the wait looks at is set forward, so that the test need not wait.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as assert from 'uvu/assert';
import { Authorizer } from '../../gateway/auth/authorize.js';
import { Challenges } from '../../gateway/auth/challenge.js';
import { createApp } from '../../gateway/http/app.js';
import { manifest } from '../../gateway/registry/manifests.js';
import { ManifestCache } from '../../lib/cache/manifests.js';
import type { Config } from '../../lib/config/config.js';
import { Manifests } from '../../lib/metadata/manifests.js';
import { ReplicationSignal } from '../../lib/metadata/notify.js';
import { settingsOf } from '../../lib/metadata/settings.js';
import { allRights } from '../../lib/users/rights.js';
import { freshMetadata, type Metadata, quiet } from '../support/clients.js';
import { load, mistakes, TWO_LOCATIONS } from '../support/config.js';
import { imageManifestType, type OciResponse, ociClient } from '../support/oci-client.js';
import { startProcess } from '../support/process.js';
import { copied, imageOf, newRepository, pushed, tag } from '../support/rows.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('gateway: the wait for a write quorum');
const COPIES = `${TWO_LOCATIONS}FEATURE_STORAGE_REPLICATION: true\n`;
const STEP_MS = 20_000;
let m: Metadata;

const now = performance.now.bind(performance);
let aheadMs = 0;

test.before(async () => {
  m = await freshMetadata();
  performance.now = () => now() + aheadMs;
  atEnd(() => {
    performance.now = now;
  });
});
test.before.each(() => {
  aheadMs = 0;
});

/** After each look 20 seconds have passed; `waits` are what the statements hear of the wait. */
class Looks extends Manifests {
  readonly waits: number[] = [];
  /** What happens before the next look. */
  before: () => Promise<void> = async () => {};

  override async tag(...[repository, digest, tags, waitedMs]: Parameters<Manifests['tag']>) {
    this.waits.push(waitedMs);
    await this.before();
    const answer = await super.tag(repository, digest, tags, waitedMs);
    aheadMs += STEP_MS;
    return answer;
  }
}

interface Push {
  readonly answer: OciResponse;
  readonly waits: readonly number[];
  readonly isTagged: boolean;
}

/** Pushes an image of which one location has everything, with a gateway's handler of this configuration. */
async function push(config: Config, before?: () => Promise<void>): Promise<Push> {
  const repository = newRepository();
  const { bytes } = imageOf([await pushed(m, repository)]);
  const manifests = new Looks(m.db, settingsOf(config));
  if (before) manifests.before = before;
  const signal = new ReplicationSignal(m.db, quiet);
  const challenges = new Challenges({ serverHostname: undefined, urlScheme: undefined, accounts: false });
  const authorizer = new Authorizer({ challenges, libraryNamespace: config.libraryNamespace, accounts: false });
  const parts = { config, authorizer, manifests, tags: m.tags, replicationSignal: signal };
  const { PUT } = manifest({ ...parts, manifestCache: new ManifestCache(undefined) });
  const app = createApp({
    log: quiet,
    handle: async ctx => {
      ctx.state.caller = { name: undefined, rights: allRights, scope: undefined };
      const reference = { tag: tag('v1') };
      await PUT?.(ctx, { kind: 'manifest', repository, reference }, new URLSearchParams());
    },
    onAnswered: () => {},
  });
  const server = createServer(app.callback());
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const client = ociClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const headers = { 'content-type': imageManifestType };
    const answer = await client.request('PUT', `/v2/${repository}/manifests/v1`, { body: bytes, headers });
    const found = await manifests.find(repository, { tag: tag('v1') });
    return { answer, waits: manifests.waits, isTagged: found.manifest !== undefined };
  } finally {
    client.close();
    server.close();
    await signal.close();
  }
}

/** A push that never gets its quorum: it must have waited for so long, looking again and again, and no longer. */
async function gaveUpAfter(seconds: number, config: Config): Promise<void> {
  const { answer, waits, isTagged } = await push(config);
  assert.is(answer.status, 503, answer.body.toString());
  assert.match(answer.body.toString(), `after ${seconds} s, too few locations hold`);
  assert.match(answer.body.toString(), 'is not in eustorage');
  assert.ok(Number(answer.headers['retry-after']) > 0);
  assert.not(isTagged);
  // Each look is 20 seconds and a little more after the one before; the last one ends the wait, or comes with its end.
  const looks = Math.ceil((seconds * 1_000) / STEP_MS);
  assert.is(waits.length, looks, waits.join());
  for (const [index, waitedMs] of waits.entries()) {
    const inTime = waitedMs >= index * STEP_MS && waitedMs < Math.min((index + 1) * STEP_MS, seconds * 1_000 + 500);
    assert.ok(inTime, `look ${index} after ${waitedMs} ms`);
  }
}

test('a minute, if nothing is configured: the configuration has it, and the handler of pushes waits so long', async () => {
  const config = load(`${COPIES}ENTREPOT_WRITE_QUORUM: 2`);
  assert.equal([config.writeQuorum, config.writeQuorumSeconds], [2, 60]);
  await gaveUpAfter(60, config);
});

test('another wait, by the file or by the environment, counts', async () => {
  await gaveUpAfter(30, load(`${COPIES}ENTREPOT_WRITE_QUORUM: 2\nENTREPOT_WRITE_QUORUM_SECONDS: 30`));
  const env = { ENTREPOT_WRITE_QUORUM: '2', ENTREPOT_WRITE_QUORUM_SECONDS: '90' };
  await gaveUpAfter(90, load(COPIES, 'gateway', env));
});

test('copies that come within the minute end the wait at once, with the tag', async () => {
  let looks = 0;
  const config = load(`${COPIES}ENTREPOT_WRITE_QUORUM: 2`);
  const { answer, waits, isTagged } = await push(config, async () => {
    if (++looks === 3) await copied(m, 'eustorage');
  });
  assert.equal([answer.status, waits.length, isTagged], [201, 3, true]);
});

test('without a quorum nobody waits', async () => {
  const config = load(COPIES);
  assert.is(config.writeQuorum, 1);
  const { answer, waits, isTagged } = await push(config);
  assert.equal([answer.status, waits.length, isTagged], [201, 0, true]);
});

test('a quorum of more locations than blobs must be in is a mistake of every process, and names what to mend', async () => {
  const three = `${COPIES}ENTREPOT_WRITE_QUORUM: 3`;
  for (const role of ['gateway', 'worker'] as const) {
    const [mistake = '', ...others] = mistakes(three, role);
    assert.equal(others, []);
    assert.match(mistake, /^ENTREPOT_WRITE_QUORUM: .*2 locations \(usstorage, eustorage.*DEFAULT_LOCATIONS/);
  }
  const asked = { ENTREPOT_WRITE_QUORUM: '3' };
  assert.match(mistakes(COPIES, 'gateway', asked).join(), /^ENTREPOT_WRITE_QUORUM: .*2 locations/);
  const config = {
    DB_URI: m.url,
    DISTRIBUTED_STORAGE_CONFIG: { usstorage: ['LocalStorage', { storage_path: '/us' }] },
    ENTREPOT_LOCATIONS: { usstorage: { nodes: ['127.0.0.1:1'] } },
    FEATURE_STORAGE_REPLICATION: true,
    ENTREPOT_WRITE_QUORUM: 2,
    ENTREPOT_ANONYMOUS_ACCESS: 'push',
  };
  const failure = await startProcess({ script: 'gateway/main.js', config, ready: async () => false }).catch(
    (error: Error) => error,
  );
  assert.match(String(failure), /ended \(exit code [1-9]\d*\)/);
  assert.match(String(failure), /ENTREPOT_WRITE_QUORUM.*1 locations \(usstorage/);
});

test.run();
