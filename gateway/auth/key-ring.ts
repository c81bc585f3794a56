/**
 * The keys that tokens are signed with: in the database, the same for all gateways of all regions, and here as they were
 * when the database was last asked.
 *
 * A key signs for a week. Its successor is there a day before, so that every gateway knows it when the first token comes
 * that it signed, also one that could not reach the database for hours. It verifies for a month longer: as long as a
 * refresh token may live. All of this is by the database's clock, and what is here is changed only by its answers: while
 * it cannot be reached, the keys that are here sign and verify on.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { calculateJwkThumbprint } from 'jose';
import type { Logger } from 'pino';
import type { PublicKey, SigningKeyRow, SigningKeys } from '../../lib/metadata/signing-keys.js';
import type { Seal } from './sealed.js';

const HOUR = 3_600;
const DAY = 24 * HOUR;

/** In seconds. */
export interface KeyPeriods {
  /** How long a key signs. */
  readonly signs: number;
  /** How long before that its successor is made. */
  readonly overlap: number;
  /** How long it verifies after it has signed. */
  readonly verifies: number;
  /** How often the database is asked. */
  readonly refresh: number;
}

const PERIODS: KeyPeriods = { signs: 7 * DAY, overlap: DAY, verifies: 31 * DAY, refresh: 60 };

/** Tokens with made-up keys must not make us ask the database each time. */
const ASK_AGAIN_MS = 2_000;

export interface KeyRingOptions {
  readonly keys: SigningKeys;
  readonly seal: Seal;
  readonly log: Logger;
  readonly periods?: KeyPeriods;
}

export interface Signer {
  readonly kid: string;
  readonly key: KeyObject;
}

export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #periods: KeyPeriods;
  readonly #stop = new AbortController();
  #verifiers: ReadonlyMap<string, KeyObject> = new Map();
  #signer: Signer | undefined;
  #asking: Promise<void> | undefined;
  #askedAt = 0;
  #refreshing: Promise<void> | undefined;
  #complained = false;

  constructor(options: KeyRingOptions) {
    this.#options = options;
    this.#periods = options.periods ?? PERIODS;
  }

  /** Gets the keys, and makes the first one if there is none. From then on they are kept up to date until `close`. */
  async open(): Promise<void> {
    await this.#ask();
    this.#refreshing = this.#refresh();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#refreshing;
    await this.#asking?.catch(() => {});
  }

  /** What to sign with now. Throws DatabaseUnavailable if there is nothing, and no way to get it. */
  async signer(): Promise<Signer> {
    if (!this.#signer) await this.#ask();
    if (!this.#signer) throw new Error('there is no key to sign tokens with');
    return this.#signer;
  }

  /** The key of this name; undefined if there is none. Throws DatabaseUnavailable if that cannot be found out. */
  async verifier(kid: string): Promise<KeyObject | undefined> {
    const known = this.#verifiers.get(kid);
    if (known || (Date.now() - this.#askedAt < ASK_AGAIN_MS && !this.#asking)) return known;
    await this.#ask();
    return this.#verifiers.get(kid);
  }

  async #refresh(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const wait = this.#periods.refresh * 1_000 * (0.8 + 0.4 * Math.random());
      await sleep(wait, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await this.#ask().catch(error => {
        this.#options.log.debug(
          { err: error },
          'the keys of tokens cannot be refreshed now; those that are here go on',
        );
      });
    }
  }

  /** However many ask at once, the database is asked once. */
  #ask(): Promise<void> {
    this.#asking ??= this.#update().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #update(): Promise<void> {
    const { keys } = this.#options;
    let rows = await keys.list();
    if (!this.#hasSuccessor(rows)) {
      await this.#make();
      rows = await keys.list();
    }
    this.#verifiers = new Map(
      rows.map(({ kid, publicKey }) => [kid, createPublicKey({ key: { ...publicKey }, format: 'jwk' })]),
    );
    const signing = rows.filter(row => row.signs);
    this.#signer = first(signing, row => this.#privateKey(row)) ?? this.#signer;
    this.#askedAt = Date.now();
  }

  /** Whether there is a key that we can use, and that will sign for longer than a successor must be there before. */
  #hasSuccessor(rows: readonly SigningKeyRow[]): boolean {
    const { id } = this.#options.seal;
    return rows.some(row => row.sealedWith === id && row.signsForSeconds > this.#periods.overlap);
  }

  async #make(): Promise<void> {
    const { keys, log, seal } = this.#options;
    const pair = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
    const { kty = '', crv = '', x = '', y = '' } = pair.publicKey.export({ format: 'jwk' });
    const publicKey: PublicKey = { kty, crv, x, y };
    const kid = await calculateJwkThumbprint({ ...publicKey });
    const privateKey = seal.seal(pair.privateKey.export({ format: 'der', type: 'pkcs8' }), kid);
    const added = await keys.add({ kid, publicKey, privateKey, sealedWith: seal.id, ...this.#periods });
    if (added) log.info({ kid }, 'made a new key for tokens');
  }

  #privateKey({ kid, privateKey, sealedWith }: SigningKeyRow): Signer | undefined {
    const { log, seal } = this.#options;
    if (!privateKey) return undefined;
    if (this.#signer?.kid === kid) return this.#signer;
    const key = sealedWith === seal.id ? seal.open(privateKey, kid) : undefined;
    if (key) return { kid, key: createPrivateKey({ key, format: 'der', type: 'pkcs8' }) };
    if (!this.#complained) {
      const message =
        'a key of the database was encrypted with another DATABASE_SECRET_KEY; this gateway signs tokens with a key of its own: give all gateways the same secret';
      log.warn({ kid }, message);
    }
    this.#complained = true;
    return undefined;
  }
}

function first<T, R>(items: readonly T[], read: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = read(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
