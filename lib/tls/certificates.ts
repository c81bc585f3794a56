/**
 * A certificate with its key, and the certificates of authorities, from files that may change at any time.
 *
 * The files are read again every few seconds, through their paths: so it does not matter whether they are written to,
 * replaced, or lie behind a symbolic link that is swapped, as Kubernetes does with a secret's. What was read counts only
 * if it is complete, belongs together and is still the same a moment later; until then the last good ones stay.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';

/** The paths of PEM files. */
export interface CertificateFiles {
  /** The authorities that other certificates must come from; undefined where nobody else's are checked. */
  readonly ca: string | undefined;
  /** The certificate, followed by those between it and its authority if there are any. */
  readonly cert: string;
  readonly key: string;
}

/** What was in them. */
export interface Loaded {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer;
  readonly key: Buffer;
  /** When the certificate ends. */
  readonly expires: Date;
}

export interface CertificatesOptions {
  readonly files: CertificateFiles;
  readonly log: Logger;
  /** How often the files are read; for tests. */
  readonly everyMs?: number;
}

const EVERY_MS = 5_000;

/** What is not the same for so long is being written. */
const SETTLED_MS = 100;

/** A certificate that ends within this time should have been replaced by now. */
const ENDS_SOON_MS = 7 * 24 * 3_600_000;

export class Certificates {
  readonly #files: CertificateFiles;
  readonly #log: Logger;
  readonly #listeners = new Set<(loaded: Loaded) => void>();
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #current: Loaded;
  /** The last complaint, so that it is logged once. */
  #complaint = '';

  /** Reads the files. Throws, naming the file, if they cannot be used. */
  constructor({ files, log, everyMs = EVERY_MS }: CertificatesOptions) {
    this.#files = files;
    this.#log = log;
    this.#current = check(files, readNow(files));
    this.#warnOfEnd();
    this.#following = this.#follow(everyMs);
  }

  /** The last good ones. */
  get current(): Loaded {
    return this.#current;
  }

  /** Calls `listener` with what there is now, at once, and at each change. */
  subscribe(listener: (loaded: Loaded) => void): void {
    this.#listeners.add(listener);
    listener(this.#current);
  }

  unsubscribe(listener: (loaded: Loaded) => void): void {
    this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#listeners.clear();
    await this.#following;
  }

  async #follow(everyMs: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { signal, ref: false }).catch(() => {});
      if (!signal.aborted) await this.#look(signal);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    try {
      const found = await read(this.#files);
      if (isSame(found, this.#current)) {
        this.#complaint = '';
        return;
      }
      await sleep(SETTLED_MS, undefined, { signal, ref: false });
      if (!isSame(found, await read(this.#files))) return;
      this.#current = check(this.#files, found);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!signal.aborted && message !== this.#complaint)
        this.#log.warn(`the certificates in use are kept, since those in the files cannot be used: ${message}`);
      this.#complaint = message;
      return;
    }
    this.#complaint = '';
    this.#log.info({ file: this.#files.cert, expires: this.#current.expires }, 'the certificates were replaced');
    this.#warnOfEnd();
    for (const listener of this.#listeners) listener(this.#current);
  }

  #warnOfEnd(): void {
    const { expires } = this.#current;
    const left = expires.getTime() - Date.now();
    if (left < ENDS_SOON_MS)
      this.#log.warn({ file: this.#files.cert, expires }, `the certificate ${left < 0 ? 'has ended' : 'ends soon'}`);
  }
}

interface Bytes {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer;
  readonly key: Buffer;
}

function readNow({ ca, cert, key }: CertificateFiles): Bytes {
  return { ca: ca === undefined ? undefined : readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
}

async function read({ ca, cert, key }: CertificateFiles): Promise<Bytes> {
  return {
    ca: ca === undefined ? undefined : await readFile(ca),
    cert: await readFile(cert),
    key: await readFile(key),
  };
}

function isSame(a: Bytes, b: Bytes): boolean {
  const sameAuthorities = a.ca === undefined || b.ca === undefined ? a.ca === b.ca : a.ca.equals(b.ca);
  return sameAuthorities && a.cert.equals(b.cert) && a.key.equals(b.key);
}

/** Throws, naming the file, unless all of it can be used. Never shows any of the key. */
function check(files: CertificateFiles, bytes: Bytes): Loaded {
  if (files.ca !== undefined && bytes.ca !== undefined) allCertificates(files.ca, bytes.ca);
  const [leaf] = allCertificates(files.cert, bytes.cert);
  const key = attempt(() => createPrivateKey(bytes.key), `${files.key} holds no private key, or not all of it`);
  if (!leaf?.checkPrivateKey(key))
    throw new Error(`the key in ${files.key} is not that of the certificate in ${files.cert}`);
  return { ...bytes, expires: new Date(leaf.validTo) };
}

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

function allCertificates(file: string, bytes: Buffer): X509Certificate[] {
  const text = bytes.toString('latin1');
  const blocks = text.match(PEM) ?? [];
  const whatIsWrong = `${file} holds no certificate, or not all of it`;
  if (blocks.length === 0 || blocks.length !== text.split('-----BEGIN CERTIFICATE-----').length - 1)
    throw new Error(whatIsWrong);
  return blocks.map(block => attempt(() => new X509Certificate(block), whatIsWrong));
}

function attempt<T>(make: () => T, whatIsWrong: string): T {
  try {
    return make();
  } catch (error) {
    throw new Error(whatIsWrong, { cause: error });
  }
}
