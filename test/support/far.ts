/** Two regions with a link between them that counts, and pulls in the one of what the other has. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { regions } from '../../deploy/local/topology.js';
import { ociClient } from './oci-client.js';
import { freePort } from './ports.js';
import { startProcess } from './process.js';
import { type Relay, startRelay } from './relay.js';
import { type PartName, type Stack, startStack } from './stack.js';
import { atEnd } from './suite.js';

export interface FarStack extends Stack {
  /** The way to each location, for all processes. */
  readonly links: Readonly<Record<'usstorage' | 'eustorage', Relay>>;
  /** Pushes random bytes in us; returns their digest. */
  push(repository: string, size: number): Promise<string>;
  /** How many bytes came from us while `work` ran. */
  crossed(work: () => Promise<unknown>): Promise<number>;
  /** Whether the replicator looks for copies by itself; if not, they are made only when somebody asks. */
  setReplicatorIdle(idle: boolean): Promise<void>;
  /** Whether a location is known to have the blob. */
  hasPlacement(digest: string, location?: string): Promise<boolean>;
}

/** A third location, whose processes are the test's own to start: for LocalStorage in this folder, reached here. */
export interface ThirdLocation {
  readonly name: string;
  readonly folder: string;
  readonly address: string;
}

export interface FarOptions {
  readonly parts: readonly PartName[];
  readonly third?: ThirdLocation;
}

/** Starts a stack whose storage-proxies are reached by way of relays. */
export async function startFarStack({ parts, third }: FarOptions): Promise<FarStack> {
  const links = { usstorage: await startRelay(), eustorage: await startRelay() };
  const nodes: Record<string, { nodes: string[] }> = {};
  for (const [name, link] of Object.entries(links)) nodes[name] = { nodes: [`127.0.0.1:${link.port}`] };
  if (third) nodes[third.name] = { nodes: [third.address] };
  const stack = await startStack({
    parts: [],
    config: base => ({
      DISTRIBUTED_STORAGE_CONFIG: {
        ...(base.DISTRIBUTED_STORAGE_CONFIG as object),
        ...(third && { [third.name]: ['LocalStorage', { storage_path: third.folder }] }),
      },
      ENTREPOT_LOCATIONS: nodes,
    }),
  });
  for (const { name, location } of regions) {
    links[location as keyof typeof links].target = stack.ports[`storage-proxy-${name}`];
  }
  for (const part of parts) await stack.start(part);
  const us = ociClient(stack.us);
  atEnd(() => us.close());
  return {
    ...stack,
    links,
    push: (repository, size) => us.pushBlob(repository, randomBytes(size)),
    async crossed(work) {
      const before = links.usstorage.received;
      await work();
      return links.usstorage.received - before;
    },
    async setReplicatorIdle(idle) {
      await stack.sql('drop trigger if exists later on replication');
      await stack.sql(`create or replace function later() returns trigger language plpgsql as $$
        begin new.next_attempt_at := now() + interval '1 hour'; return new; end $$`);
      if (idle) {
        await stack.sql('create trigger later before insert on replication for each row execute function later()');
      }
    },
    async hasPlacement(digest, location = 'eustorage') {
      const rows = await stack.sql(
        `select 1 from imagestorageplacement p join imagestorage s on s.id = p.storage_id
           join imagestoragelocation l on l.id = p.location_id
          where s.content_checksum = $1 and l.name = $2 and p.verified_at is not null`,
        [digest, location],
      );
      return rows.length > 0;
    },
  };
}

/** Starts another gateway in eu; resolves to its base URL. */
export async function startSecondGateway({ config }: FarStack): Promise<string> {
  const listen = `127.0.0.1:${await freePort()}`;
  await startProcess({
    name: 'second gateway of eu',
    script: 'gateway/main.js',
    config,
    env: { QUAY_DISTRIBUTED_STORAGE_PREFERENCE: 'eustorage', ENTREPOT_GATEWAY_LISTEN: listen },
    ready: async () => (await fetch(`http://${listen}/health/instance`)).ok,
  });
  return `http://${listen}`;
}

export interface Pull {
  readonly status: number;
  /** Of the bytes that came. */
  readonly digest: string;
  readonly size: number;
}

export interface PullOptions {
  /** Reads no faster than this. */
  readonly bytesPerSecond?: number;
  readonly range?: string;
  /** Goes away after so many bytes. */
  readonly leaveAfter?: number;
}

const agent = new Agent({ keepAlive: false });

/** Pulls a blob and hashes it on the way. Rejects if the answer breaks off. */
export async function pull(base: string, repository: string, digest: string, options: PullOptions = {}): Promise<Pull> {
  const headers = options.range === undefined ? {} : { range: options.range };
  const request = get(`${base}/v2/${repository}/blobs/${digest}`, { agent, headers });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const hash = createHash('sha256');
  const began = performance.now();
  let size = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    hash.update(piece);
    size += piece.length;
    if (size >= (options.leaveAfter ?? Number.POSITIVE_INFINITY)) {
      response.destroy();
      break;
    }
    if (options.bytesPerSecond !== undefined) {
      const ahead = (size / options.bytesPerSecond) * 1_000 - (performance.now() - began);
      if (ahead > 10) await sleep(ahead);
    }
  }
  return { status: response.statusCode ?? 0, digest: `sha256:${hash.digest('hex')}`, size };
}

/** Pulls a blob so many times at once, through these gateways by turns. */
export function pullMany(
  gateways: readonly string[],
  repository: string,
  digest: string,
  count: number,
  options: (index: number) => PullOptions = () => ({}),
): Promise<Pull[]> {
  const one = (index: number) => pull(gateways[index % gateways.length] ?? '', repository, digest, options(index));
  return Promise.all(Array.from({ length: count }, (_, index) => one(index)));
}

/** Asserts that each of the pulls got the whole blob. */
export async function assertWhole(pulls: Promise<Pull[]>, digest: string, size: number): Promise<void> {
  for (const got of await pulls) assert.equal(got, { status: 200, digest, size });
}
