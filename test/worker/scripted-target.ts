/**
 * Stand-ins for what a copy writes to: a target that takes what it is told to take, and a database that keeps checkpoints,
 * or does not. They hash nothing.
 */
import { Location } from '../../lib/locations/location.js';
import { type Checkpoint, RemoteStore } from '../../lib/locations/store.js';
import { Database } from '../../lib/metadata/database.js';
import { Replication } from '../../lib/metadata/replication.js';
import { quiet } from '../support/clients.js';

/** A store's checkpoints come no more often. */
export const CHECKPOINT_BYTES = 4 * 1024 * 1024;

/** A target that takes one piece after the other, when `wait` lets it. */
export class ScriptedTarget extends RemoteStore {
  readonly #wait: (at: number) => Promise<void>;
  readonly got: Buffer[] = [];
  at = 0;

  constructor(wait: (at: number) => Promise<void> = async () => {}) {
    super(new Location('target', []));
    this.#wait = wait;
  }
  override async stat(): Promise<undefined> {
    return undefined;
  }
  override async begin(): Promise<Checkpoint> {
    return { offset: 0, session: Buffer.alloc(0) };
  }
  override async append(
    session: Buffer,
    source: AsyncIterable<Buffer>,
    onCheckpoint: (checkpoint: Checkpoint) => void,
  ): Promise<Checkpoint> {
    let told = 0;
    for await (const piece of source) {
      this.got.push(Buffer.from(piece));
      this.at += piece.length;
      await this.#wait(this.at);
      if (this.at - told < CHECKPOINT_BYTES) continue;
      told = this.at;
      onCheckpoint({ offset: told, session });
    }
    return { offset: this.at, session };
  }
  override async commit(): Promise<number> {
    return this.at;
  }
}
export class TargetLocation extends Location {
  override readonly store: RemoteStore;

  constructor(store: RemoteStore) {
    super('target', []);
    this.store = store;
  }
}

const url = 'postgresql://127.0.0.1:1/nowhere';
/** Nobody asks it anything. */
const nowhere = new Database({ url, listenUrl: url, poolSize: 1 }, quiet);

/** Keeps checkpoints in nobody's database; or, as one that is away does, none. */
export class ScriptedReplication extends Replication {
  readonly #keeps: boolean;

  constructor(keeps = true) {
    super(nowhere);
    this.#keeps = keeps;
  }
  override async checkpoint(): Promise<boolean> {
    if (!this.#keeps) throw new Error('the database is away');
    return true;
  }
}
