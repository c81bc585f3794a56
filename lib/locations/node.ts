/**
 * One storage-proxy node as a client knows it: its channel, who it is, and whether it can be used now.
 *
 * A node is used only after it has said which location it serves (`Describe`), and only while that is the one it was
 * configured for: a mis-wired address must not make placements lie. The answer holds while the connection on which
 * the node's health is followed lives; a process that starts anew at that address is asked again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Capabilities__Output } from '../../proto/generated/entrepot/storage/v1/Capabilities.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { asSize } from '../oci/size.js';
import { callUnary } from '../rpc/call.js';
import { bulkChannelOptions, channelOptions, FAR_WINDOW, NEAR_WINDOW } from '../rpc/channel.js';
import { fail } from '../rpc/errors.js';
import { watchHealth } from '../rpc/health.js';
import { StorageStub } from '../rpc/proto.js';
import { CONNECTION_AGE_MS, type Renewed } from '../rpc/renewed.js';
import { Security } from '../rpc/security.js';
import { Lanes } from './lanes.js';
import type { Need } from './store.js';
import type { WideStreams } from './wide-streams.js';

/**
 * Answers whether `locationId` is the identity on record for the location; records it if there is none yet, and no other
 * location has it.
 */
export type Identify = (location: string, locationId: string) => Promise<boolean>;

export interface NodeOptions {
  /** `host:port`. */
  readonly address: string;
  /** The name of the location that the node must serve. */
  readonly location: string;
  /** Given if the node is in another region: some reads then get a channel with a wide window. */
  readonly wideStreams: WideStreams | undefined;
  readonly identify: Identify;
  /** How it is reached; plain text on this machine only if absent. */
  readonly security?: Security;
  readonly log: Logger;
  /** For tests. */
  readonly connectionAgeMs?: number;
}

/** What nodes take that do not say so, and the most that is sent whatever they say: it is memory of ours, too. */
const OLDER_APPEND_BYTES = 256 * 1024;
const MOST_APPEND_BYTES = 1024 * 1024;

const DESCRIBE_DEADLINE_MS = 2_000;
const RETRY_MS = { first: 100, most: 1_000 };

export class StorageNode {
  readonly address: string;
  readonly #near: Renewed<StorageClient>;
  /** For streams of bytes, so that over a long link nothing else waits behind them. */
  readonly #bulk: Renewed<StorageClient> | undefined;
  readonly #wide: Renewed<StorageClient> | undefined;
  readonly #lanes: Lanes | undefined;
  readonly #options: NodeOptions;
  readonly #stop = new AbortController();
  readonly #serving: Record<Need, boolean> = { read: false, write: false };
  #verified = false;
  #verifying: Promise<void> | undefined;
  #minChunkBytes = 0;
  #maxAppendBytes = OLDER_APPEND_BYTES;
  #engine: string | undefined;
  #following: Promise<void>;

  constructor(options: NodeOptions) {
    this.address = options.address;
    this.#options = options;
    const { security = Security.local, connectionAgeMs = CONNECTION_AGE_MS } = options;
    const open = (channel: ReturnType<typeof channelOptions>) =>
      security.renewed(StorageStub, options.address, 'storage-proxy', channel, connectionAgeMs);
    this.#near = open(channelOptions(NEAR_WINDOW));
    this.#bulk = options.wideStreams && open(bulkChannelOptions(NEAR_WINDOW));
    this.#wide = options.wideStreams && open(bulkChannelOptions(FAR_WINDOW));
    this.#lanes = options.wideStreams && new Lanes(options.address, security);
    this.#following = this.#follow();
  }

  /** For a call that begins now. */
  get stub(): StorageClient {
    return this.#near.client;
  }

  /** The same, for a stream of bytes. */
  get bulkStub(): StorageClient {
    return (this.#bulk ?? this.#near).client;
  }

  /** Whether the node says that it can do this now. */
  serves(need: Need): boolean {
    return this.#verified && this.#serving[need];
  }

  /** Chunks of an upload should be at least this large, in bytes; 0 if any size is as good. */
  get minChunkBytes(): number {
    return this.#minChunkBytes;
  }

  /** How many bytes of an upload it takes in one message. */
  get maxAppendBytes(): number {
    return this.#maxAppendBytes;
  }

  /** What it says that its blobs are kept in, for example `S3Storage`; undefined while it cannot be used. */
  get engine(): string | undefined {
    return this.#verified ? this.#engine : undefined;
  }

  /**
   * The channel for one stream of bytes; call `done` when it is over. `striped`: it is one of many that are read side by
   * side, as fast as they come.
   */
  openStream(striped = false): { stub: StorageClient; done: () => void } {
    if (striped && this.#lanes) return this.#lanes.take();
    const done = this.#wide && this.#options.wideStreams?.take();
    return this.#wide && done ? { stub: this.#wide.client, done } : { stub: this.bulkStub, done: () => {} };
  }

  /** Makes sure that the node is the right one. Throws a transient StatusError if it is not, or does not answer. */
  async verify(): Promise<void> {
    if (this.#verified) return;
    await this.#verifyAnew();
  }

  async #verifyAnew(): Promise<void> {
    this.#verifying ??= this.#describe().finally(() => {
      this.#verifying = undefined;
    });
    await this.#verifying;
  }

  async #describe(): Promise<void> {
    const { location } = this.#options;
    const answer = await callUnary(
      this.stub.describe.bind(this.stub),
      {},
      { signal: this.#stop.signal },
      DESCRIBE_DEADLINE_MS,
    );
    if (answer.location !== location) {
      throw fail.wrongLocation(
        `the node at ${this.address} serves ${answer.location}, not ${location}: see ENTREPOT_LOCATIONS`,
      );
    }
    if (!(await this.#options.identify(location, answer.locationId))) {
      throw fail.wrongLocation(
        `the store behind ${this.address} is not the one that ${location} was kept in before, or another location is kept in it`,
      );
    }
    this.#minChunkBytes = asSize((answer.capabilities as Capabilities__Output | null)?.minChunkBytes ?? 0);
    this.#maxAppendBytes = Math.min(asSize(answer.maxAppendBytes) || OLDER_APPEND_BYTES, MOST_APPEND_BYTES);
    this.#engine = answer.engine;
    this.#lanes?.sentWith(answer.congestionControl);
    this.#verified = true;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#near.close();
    this.#bulk?.close();
    this.#wide?.close();
    this.#lanes?.close();
    await this.#following;
  }

  /** Verifies the node and follows its health, for as long as this object lives. */
  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    const { location, log } = this.#options;
    let wait = RETRY_MS.first;
    let reported = '';
    while (!signal.aborted) {
      try {
        // Also a node that was verified before: its health came over another connection.
        await this.#verifyAnew();
        if (reported) log.info({ location, node: this.address }, 'the storage node is back');
        reported = '';
        wait = RETRY_MS.first;
        await this.#followHealth(signal);
      } catch (error) {
        this.#verified = false;
        this.#serving.read = false;
        this.#serving.write = false;
        if (signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        if (message !== reported)
          log.warn({ location, node: this.address }, `the storage node cannot be used: ${message}`);
        reported = message;
      }
      await sleep(wait * (0.5 + Math.random()), undefined, { signal }).catch(() => {});
      wait = Math.min(wait * 2, RETRY_MS.most);
    }
  }

  /** Throws when the connection on which the health came is gone; returns when it is time for another one. */
  async #followHealth(signal: AbortSignal): Promise<void> {
    const { connectionAgeMs = CONNECTION_AGE_MS } = this.#options;
    const both = new AbortController();
    const stop = AbortSignal.any([signal, both.signal]);
    let renewed = false;
    const renewal = setTimeout(() => {
      renewed = true;
      both.abort();
    }, connectionAgeMs * 1.2);
    const stub = this.stub;
    const follow = async (need: Need) => {
      for await (const serving of watchHealth(stub, `entrepot.storage.${need}`, stop)) this.#serving[need] = serving;
      throw fail.storeUnreachable('the node stopped telling its health');
    };
    const follows = [follow('read'), follow('write')];
    try {
      await Promise.race(follows);
    } catch (error) {
      if (!renewed || signal.aborted) throw error;
    } finally {
      clearTimeout(renewal);
      both.abort();
      await Promise.allSettled(follows);
    }
  }
}
