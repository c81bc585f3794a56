/**
 * A location is removed while clients push, pull and mount in both regions, backfills run, and processes die at random
 * moments. At no time may an image that was acknowledged be unknown, or have other bytes, in any region; and in the end
 * nothing may be left of the location, and nothing may be missing.
 *
 * What happens in a run follows from its seed: what is pushed, who dies, and when. The moment within the code does not,
 * of course: a run that failed may have to be repeated a few times.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { hasReason, StatusError } from '../../lib/rpc/errors.js';
import { AdminStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { readMessages } from '../../lib/rpc/stream.js';
import type { RemoveLocationResponse__Output } from '../../proto/generated/entrepot/admin/v1/RemoveLocationResponse.js';
import { chanceOf } from './chance.js';
import { pseudoRandom } from './images.js';
import { type OciClient, ociClient, sha256 } from './oci-client.js';
import { nothingIsLeftOf } from './removal-end-state.js';
import { type PartName, type Stack, startStack } from './stack.js';

const REMOVED = 'eustorage';
const STAYS = 'usstorage';
const VICTIMS: readonly PartName[] = [
  'worker-us',
  'worker-eu',
  'gateway-us',
  'gateway-eu',
  'storage-proxy-us',
  'storage-proxy-eu',
];
/** Images that are only in the location when its removal begins. */
const IMAGES_BEFORE = 20;
const KILLS = 3;
const LATEST_KILL_MS = 2_500;
/** While a process is down, an answer may be late, but not wrong. */
const LATE_MS = 30_000;
const REMOVAL_MS = 150_000;

/** An image that was acknowledged. */
interface Acknowledged {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  readonly blobs: readonly string[];
}

/** Runs one removal; throws, naming the seed, if anything is not as it must be. */
export async function removalUnderLoad(seed: string): Promise<string> {
  const run = new Run(seed, await startStack({ config: { DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: [STAYS] } }));
  try {
    return await run.all();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`run ${seed} (again: ENTREPOT_TEST_SEED=${seed}): ${message}\n${run.story.join('\n')}`, {
      cause: error,
    });
  } finally {
    await run.end();
  }
}

class Run {
  readonly story: string[] = [];
  readonly #seed: string;
  readonly #stack: Stack;
  readonly #chance: () => number;
  readonly #clients: Readonly<Record<'us' | 'eu', OciClient>>;
  readonly #images: Acknowledged[] = [];
  readonly #stop = new AbortController();
  readonly #startedAt = performance.now();
  #number = 0;
  #pulls = 0;
  #calls = 0;
  #backfills = 0;
  #deleted = 0;
  #removedMs = 0;

  constructor(seed: string, stack: Stack) {
    this.#seed = seed;
    this.#stack = stack;
    this.#chance = chanceOf(seed);
    this.#clients = { us: ociClient(stack.us), eu: ociClient(stack.eu) };
  }

  async all(): Promise<string> {
    const withObjects = this.#chance() < 0.5;
    // Nothing is copied before the removal begins.
    this.#stack.part('worker-us').kill('SIGSTOP');
    for (let n = 0; n < IMAGES_BEFORE; n++) await this.#pushOne('eu');
    this.#stack.part('worker-us').kill('SIGCONT');
    const kills = Array.from({ length: KILLS }, () => ({
      victim: VICTIMS[Math.floor(this.#chance() * VICTIMS.length)] as PartName,
      at: this.#chance() * LATEST_KILL_MS,
      downMs: this.#chance() * 400,
    }));
    const load = [
      ...[this.#push('eu'), this.#push('eu'), this.#push('us')],
      ...[this.#pull('us'), this.#pull('eu'), this.#backfill()],
    ];
    const failed = Promise.all(load).then(() => new Promise<never>(() => {}));
    failed.catch(() => {});
    const work = Promise.all([this.#remove(withObjects), this.#kill(kills)]);
    const ended = Promise.race([work, failed]).then(() => sleep(300));
    await ended.catch(() => {});
    this.#stop.abort();
    for (const end of await Promise.allSettled([...load, work])) if (end.status === 'rejected') throw end.reason;
    await this.#isExact();
    const seconds = Math.round((performance.now() - this.#startedAt) / 100) / 10;
    return (
      `${this.#images.length} images, ${this.#pulls} pulls, ${this.#backfills} backfills, ${this.#deleted} records, ${this.#calls} calls, ` +
      `${this.#removedMs} ms to remove, ${kills.map(({ victim }) => victim).join(', ')} killed${withObjects ? ', with objects' : ''}: ${seconds} s`
    );
  }

  async end(): Promise<void> {
    for (const client of Object.values(this.#clients)) client.close();
    for (const name of VICTIMS) {
      try {
        await this.#stack.part(name).stop(2_000);
      } catch {
        // It does not run.
      }
    }
  }

  #tell(text: string): void {
    this.story.push(`${Math.round(performance.now() - this.#startedAt)} ms: ${text}`);
  }

  async #kill(kills: readonly { victim: PartName; at: number; downMs: number }[]): Promise<void> {
    const begun = performance.now();
    for (const { victim, at, downMs } of kills.toSorted((a, b) => a.at - b.at)) {
      await sleep(Math.max(0, begun + at - performance.now()));
      this.#tell(`kill ${victim}`);
      await this.#stack.kill(victim);
      await sleep(downMs);
      await this.#stack.start(victim);
    }
  }

  /** Calls until the location is gone, now at this worker, now at that one; sometimes the call itself is ended. */
  async #remove(deleteObjects: boolean): Promise<void> {
    const begun = performance.now();
    const until = begun + REMOVAL_MS;
    for (let turn = 0; performance.now() < until; turn++) {
      const region = turn % 2 === 0 ? 'us' : 'eu';
      const endsAfterMs = turn === 0 && this.#chance() < 0.5 ? this.#chance() * 2_000 : REMOVAL_MS;
      this.#calls++;
      try {
        if (await this.#callRemove(this.#stack.ports[`worker-${region}`], deleteObjects, endsAfterMs)) {
          this.#removedMs = Math.round(performance.now() - begun);
          return;
        }
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        this.#tell(`the removal at ${region} ended: ${error.status} ${error.message}`);
        if (error.status === 'INTERNAL' || hasReason(error, 'REFUSED', 'MALFORMED', 'REPLICATION_OFF')) throw error;
        await sleep(300);
      }
    }
    throw new Error('the location is still not removed');
  }

  async #callRemove(port: number, deleteObjects: boolean, endsAfterMs: number): Promise<boolean> {
    const client = new AdminStub(...Security.local.dial(`127.0.0.1:${port}`, 'worker', channelOptions(NEAR_WINDOW)));
    try {
      const call = client.removeLocation({ location: REMOVED, confirm: REMOVED, deleteObjects });
      const signal = AbortSignal.any([AbortSignal.timeout(Math.ceil(endsAfterMs)), this.#stop.signal]);
      let phase = '';
      for await (const event of readMessages<RemoveLocationResponse__Output>(call, signal)) {
        if (event.deletedPlacement !== undefined) this.#deleted++;
        if (event.progress && phase !== event.progress.phase) {
          phase = event.progress.phase;
          this.#tell(`${phase}: ${JSON.stringify(event.progress)}`);
        }
        if (event.deletedLocation) return true;
      }
      return false;
    } finally {
      client.close();
    }
  }

  async #push(region: 'us' | 'eu'): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#pushOne(region);
      await sleep(20 + this.#chance() * 60);
    }
  }

  /** Pushes an image, as a client that tries again would; half of them share a layer with another repository. */
  async #pushOne(region: 'us' | 'eu'): Promise<void> {
    const number = this.#number++;
    const repository = `load/app${number % 5}`;
    const tag = `t${number}`;
    const other = this.#images[Math.floor(this.#chance() * this.#images.length)];
    const mounted =
      other && this.#chance() < 0.5 ? { from: other.repository, digest: other.blobs[0] ?? '' } : undefined;
    const large = this.#chance() < 0.15 ? 1_500_000 : 0;
    const layers = [1 + Math.floor(this.#chance() * 20_000), large || 100].map((size, n) =>
      Buffer.concat([...pseudoRandom(size, `${this.#seed}/${number}/${n}`)]),
    );
    const blobs = [...layers, Buffer.from(JSON.stringify({ number, seed: this.#seed }))];
    const digests = [...(mounted ? [mounted.digest] : []), ...blobs.map(sha256)];
    const pushed = await this.#untilDone(`push ${tag}`, async () => {
      const client = this.#clients[region];
      for (const blob of blobs) await client.pushBlob(repository, blob);
      if (mounted) await this.#mount(client, repository, mounted);
      const [first = '', ...rest] = digests;
      const described = (digest: string) => ({ mediaType: 'application/octet-stream', digest, size: 1 });
      return client.pushManifest(repository, tag, {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: described(rest.at(-1) ?? first),
        layers: digests.slice(0, -1).map(described),
      });
    });
    if (pushed) this.#images.push({ repository, tag, digest: pushed.digest, blobs: digests });
  }

  async #mount(
    client: OciClient,
    repository: string,
    { from, digest }: { from: string; digest: string },
  ): Promise<void> {
    const answer = await client.request('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`);
    if (answer.status === 202) throw new Wrong(`${digest} of ${from} cannot be mounted`);
    if (answer.status !== 201) throw new Error(`mount: ${answer.status}`);
  }

  async #backfill(): Promise<void> {
    for (let turn = 0; !this.#stop.signal.aborted; turn++) {
      const port = this.#stack.ports[turn % 2 === 0 ? 'worker-eu' : 'worker-us'];
      const client = new AdminStub(...Security.local.dial(`127.0.0.1:${port}`, 'worker', channelOptions(NEAR_WINDOW)));
      try {
        for await (const _ of readMessages(client.backfillReplication({}), this.#stop.signal));
        this.#backfills++;
      } catch (error) {
        if (!(error instanceof StatusError) || error.status === 'INTERNAL') throw error;
      } finally {
        client.close();
      }
      await sleep(200 + this.#chance() * 300);
    }
  }

  async #pull(region: 'us' | 'eu'): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const image = this.#images[Math.floor(this.#chance() * this.#images.length)];
      if (image) await this.#pullOne(region, image);
      await sleep(this.#chance() * 20);
    }
  }

  async #pullOne(region: 'us' | 'eu', image: Acknowledged): Promise<void> {
    const { repository, tag, digest, blobs } = image;
    const get = async (path: string): Promise<Buffer> => {
      const answer = await this.#clients[region].request('GET', path, { headers: { accept: '*/*' } });
      if (answer.status === 200) return answer.body;
      const text = `${region}: GET ${path}: ${answer.status} ${answer.body.toString()}`;
      throw answer.status === 404 ? new Wrong(text) : new Error(text);
    };
    await this.#untilDone(`pull ${tag} in ${region}`, async () => {
      if (sha256(await get(`/v2/${repository}/manifests/${tag}`)) !== digest) throw new Wrong(`${tag} has moved`);
      for (const blob of blobs) {
        const found = sha256(await get(`/v2/${repository}/blobs/${blob}`));
        if (found !== blob) throw new Wrong(`${blob} of ${tag} is ${found} in ${region}`);
      }
      this.#pulls++;
    });
  }

  /** Tries until it works, as clients do while a process is down. What is wrong, and not only late, is thrown. */
  async #untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T | undefined> {
    const until = performance.now() + LATE_MS;
    while (true) {
      try {
        return await attempt();
      } catch (error) {
        if (error instanceof Wrong) throw error;
        if (performance.now() > until) throw new Error(`${what} does not work: ${error}`, { cause: error });
        if (this.#stop.signal.aborted && what.startsWith('push')) return undefined;
        await sleep(100);
      }
    }
  }

  /** Nothing is left of the location, nothing is missing, and all can be pulled. */
  async #isExact(): Promise<void> {
    await this.#stack.replicated(60_000);
    await nothingIsLeftOf(this.#stack, REMOVED, STAYS, this.#images);
    for (const image of this.#images) for (const region of ['us', 'eu'] as const) await this.#pullOne(region, image);
  }
}

/** Something that must never be, whatever is down. */
class Wrong extends Error {
  override readonly name = 'Wrong';
}
