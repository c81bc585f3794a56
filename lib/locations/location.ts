/** One location: its nodes, and which of them a call goes to. */
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { fail, isTransient } from '../rpc/errors.js';
import type { StorageNode } from './node.js';
import { rendezvous } from './rendezvous.js';
import { type Need, RemoteStore, type Route } from './store.js';

export class Location implements Route {
  readonly name: string;
  /** The location's blobs, through whichever node can be used. */
  readonly store: RemoteStore;
  readonly #nodes: readonly StorageNode[];
  #turn = 0;

  constructor(name: string, nodes: readonly StorageNode[]) {
    this.name = name;
    this.#nodes = nodes;
    this.store = new RemoteStore(this);
  }

  /** Whether some node says that it can do this now. */
  serves(need: Need): boolean {
    return this.#nodes.some(node => node.serves(need));
  }

  /** Chunks of an upload should be at least this large, in bytes; 0 if any size is as good, or not known yet. */
  get minChunkBytes(): number {
    return Math.max(0, ...this.#nodes.map(node => node.minChunkBytes));
  }

  /** What its blobs are kept in, for example `S3Storage`; undefined while no node of it can be used. */
  get engine(): string | undefined {
    return this.#nodes.find(node => node.engine !== undefined)?.engine;
  }

  anyNode<T>(need: Need, operation: (stub: StorageClient) => Promise<T>, affinity?: string): Promise<T> {
    return this.#firstThatWorks(need, node => operation(node.stub), affinity);
  }

  async oneNode<T>(
    need: Need,
    operation: (stub: StorageClient, maxAppendBytes: number) => Promise<T>,
    affinity?: string,
  ): Promise<T> {
    const node = await this.#firstThatWorks(need, async each => each, affinity);
    return operation(node.bulkStub, node.maxAppendBytes);
  }

  stream<T>(operation: (stub: StorageClient, done: () => void) => Promise<T>, striped = false): Promise<T> {
    return this.#firstThatWorks('read', async node => {
      const { stub, done } = node.openStream(striped);
      try {
        return await operation(stub, done);
      } catch (error) {
        done();
        throw error;
      }
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map(node => node.close()));
  }

  async #firstThatWorks<T>(need: Need, attempt: (node: StorageNode) => Promise<T>, affinity?: string): Promise<T> {
    let failure: unknown;
    for (const node of this.#inOrder(need, affinity)) {
      try {
        await node.verify();
        return await attempt(node);
      } catch (error) {
        if (!isTransient(error)) throw error;
        failure = error;
      }
    }
    throw failure ?? fail.storeUnreachable(`${this.name} has no nodes: see ENTREPOT_LOCATIONS`);
  }

  /** The order in which nodes are tried; those that say they cannot come last, as a last resort. */
  #inOrder(need: Need, affinity: string | undefined): StorageNode[] {
    const nodes = affinity === undefined ? this.#inTurn() : rendezvous(affinity, this.#nodes, node => node.address);
    return [...nodes.filter(node => node.serves(need)), ...nodes.filter(node => !node.serves(need))];
  }

  /** Each call begins with the next node. */
  #inTurn(): StorageNode[] {
    const start = this.#turn++ % Math.max(1, this.#nodes.length);
    return [...this.#nodes.slice(start), ...this.#nodes.slice(0, start)];
  }
}
