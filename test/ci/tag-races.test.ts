/**
 * Tags that many move, delete and read at once, through the gateways of both regions, while one gateway dies and comes
 * back: whatever is answered, there is one order of all of it that explains every answer.
 */
import { randomBytes } from 'node:crypto';
import * as assert from 'uvu/assert';
import { chanceOf } from '../support/chance.js';
import { imageIndexType } from '../support/images.js';
import { type Operation, violation } from '../support/linearizable.js';
import { type OciClient, type OciResponse, ociClient, sha256 } from '../support/oci-client.js';
import { startRedis } from '../support/redis.js';
import { type Stack, startStack } from '../support/stack.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('tag races', { needs: ['redis-server'], timeoutMs: 60_000 });

const WRITERS = 8;
const READERS = 8;
const TAGS = ['a', 'b', 'c'];
const DURATION_MS = 5_000;
const REPOSITORY = '/v2/races/app/manifests';

let stack: Stack;
let clients: readonly OciClient[];

test.before(async () => {
  const { host, port } = await startRedis();
  stack = await startStack({
    parts: ['storage-proxy-us', 'storage-proxy-eu', 'gateway-us', 'gateway-eu'],
    config: { USER_EVENTS_REDIS: { host, port } },
  });
  clients = [stack.us, stack.eu].map(base => ociClient(base));
  for (const client of clients) atEnd(() => client.close());
});

// They have no client left: without this each would drain for some seconds.
test.after(() => Promise.all([stack.kill('gateway-us'), stack.kill('gateway-eu')]));

type Effect = Pick<Operation, 'kind' | 'value'>;

class Recorder {
  readonly histories = new Map(TAGS.map(tag => [tag, [] as Operation[]]));
  /** Of the manifests that were pushed last. */
  readonly pushed: string[] = [];
  unknown = 0;
  #last = 0;

  /** Runs a request. `effectOf` says what its answer tells of each tag; `otherwise` is what it may have done if none came. */
  async record(
    tags: readonly string[],
    request: () => Promise<OciResponse>,
    effectOf: (answer: OciResponse) => Effect | undefined,
    otherwise?: Effect,
  ): Promise<void> {
    const called = this.#now();
    let done: Effect | undefined;
    let answered = Number.POSITIVE_INFINITY;
    try {
      done = effectOf(await request());
      answered = this.#now();
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      // While the gateway is away, nothing came of it for certain.
      if (code === 'ECONNREFUSED') return;
      if (code !== 'ECONNRESET' && code !== 'EPIPE') throw error;
      this.unknown++;
      done = otherwise;
    }
    if (!done) return;
    for (const tag of tags) this.histories.get(tag)?.push({ ...done, called, answered });
  }

  /** A clock that never stands still, so that no two ends fall together. */
  #now(): number {
    this.#last = Math.max(performance.now(), this.#last + 1e-4);
    return this.#last;
  }
}

test('8 writers and 8 readers over both gateways: the history of each tag is linearizable', async () => {
  const seed = process.env.ENTREPOT_TEST_SEED ?? randomBytes(4).toString('hex');
  process.stdout.write(`   seed ${seed}\n`);
  const recorder = new Recorder();
  const end = performance.now() + DURATION_MS;

  const actor = (name: string, act: (client: OciClient, pick: <T>(items: readonly T[]) => T) => Promise<void>) => {
    const chance = chanceOf(`${seed}/${name}`);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(chance() * items.length)] as T;
    return (async () => {
      while (performance.now() < end) await act(pick(clients), pick);
    })();
  };
  const writers = Array.from({ length: WRITERS }, (_, number) => {
    let count = 0;
    return actor(`writer ${number}`, (client, pick) => write(recorder, client, pick, `${number}/${count++}`));
  });
  const readers = Array.from({ length: READERS }, (_, number) =>
    actor(`reader ${number}`, (client, pick) => read(recorder, client, pick(TAGS), pick(['GET', 'GET', 'HEAD']))),
  );
  await Promise.all([...writers, ...readers, killGateway(end)]);

  for (const [tag, history] of recorder.histories) {
    const of = (kind: Operation['kind']) => history.filter(each => each.kind === kind);
    const distinct = new Set(of('read').map(each => each.value)).size;
    console.log(`   ${tag}: ${of('write').length} writes, ${of('read').length} reads of ${distinct} values`);
    assert.ok(of('write').length > 20 && of('read').length > 20 && distinct > 10);
    const begun = performance.now();
    const wrong = violation(history);
    console.log(`     checked in ${(performance.now() - begun).toFixed(0)} ms`);
    assert.not(wrong, `seed ${seed}: no order explains tag ${tag}; the last of it:\n${describe(wrong)}`);
  }
  console.log(`   ${recorder.unknown} requests without an answer`);
});

/** Pushes a new manifest under one tag, or under two at once; or deletes a tag, or a manifest, which ends its tags. */
async function write(
  recorder: Recorder,
  client: OciClient,
  pick: <T>(items: readonly T[]) => T,
  name: string,
): Promise<void> {
  const tag = pick(TAGS);
  const way = pick(['put', 'put', 'put', 'put both', 'delete', 'delete manifest']);
  if (way === 'delete') {
    return recorder.record(
      [tag],
      () => client.request('DELETE', `${REPOSITORY}/${tag}`),
      answer => {
        expectStatus(answer, 202, 404);
        return { kind: answer.status === 202 ? 'write' : 'read', value: undefined };
      },
      { kind: 'write', value: undefined },
    );
  }
  if (way === 'delete manifest' && recorder.pushed.length > 0) {
    const digest = pick(recorder.pushed.slice(-5));
    return recorder.record(
      TAGS,
      () => client.request('DELETE', `${REPOSITORY}/${digest}`),
      answer => {
        expectStatus(answer, 202, 404);
        return answer.status === 202 ? { kind: 'clear', value: digest } : undefined;
      },
      { kind: 'clear', value: digest },
    );
  }
  const body = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: imageIndexType, manifests: [], annotations: { name } }),
  );
  const digest = sha256(body);
  const both = way === 'put both';
  const tags = both ? TAGS.filter(each => each !== tag) : [tag];
  const reference = !both ? tag : `${digest}?${tags.map(each => `tag=${each}`).join('&')}`;
  await recorder.record(
    tags,
    () => client.request('PUT', `${REPOSITORY}/${reference}`, { body, headers: { 'content-type': imageIndexType } }),
    answer => {
      expectStatus(answer, 201);
      recorder.pushed.push(digest);
      return { kind: 'write', value: digest };
    },
    { kind: 'write', value: digest },
  );
}

async function read(recorder: Recorder, client: OciClient, tag: string, method: string): Promise<void> {
  await recorder.record(
    [tag],
    () => client.request(method, `${REPOSITORY}/${tag}`),
    answer => {
      expectStatus(answer, 200, 404);
      if (answer.status === 404) return { kind: 'read', value: undefined };
      const digest = String(answer.headers['docker-content-digest']);
      if (method === 'GET') assert.is(sha256(answer.body), digest, 'the bytes are those of the digest');
      return { kind: 'read', value: digest };
    },
  );
}

function expectStatus(answer: OciResponse, ...expected: number[]): void {
  assert.ok(expected.includes(answer.status), `${answer.status}: ${answer.body}`);
}

/** A gateway dies in the middle of it all, and comes back. */
async function killGateway(end: number): Promise<void> {
  const wait = Math.max(0, (end - performance.now()) / 3);
  await new Promise(resolve => setTimeout(resolve, wait));
  await stack.kill('gateway-eu');
  await stack.start('gateway-eu');
}

function describe(history: readonly Operation[] | undefined): string {
  return (history ?? [])
    .slice(-20)
    .map(
      ({ kind, value, called, answered }) =>
        `${called.toFixed(4)} to ${answered.toFixed(4)}: ${kind} ${value?.slice(7, 19) ?? 'nothing'}`,
    )
    .join('\n');
}

test.run();
