/**
 * Runs a sequence of steps in a repository of its own. Where a step is right, and everything before it that it depends
 * on is known to have succeeded, its answer must be the one that a client relies on; else any orderly answer will do.
 */
import { createHash } from 'node:crypto';
import { imageIndexType, pseudoRandom } from '../support/images.js';
import { imageManifestType, sha256 } from '../support/oci-client.js';
import type { Fixtures } from './fixtures.js';
import { editedJson } from './json.js';
import type { Step } from './steps.js';
import type { WireAnswer, WireRequest } from './wire.js';

/** Sends a request to a gateway and judges what comes back. Undefined if there was no answer, as it may be. */
export type Exchange = (region: number, request: WireRequest) => Promise<WireAnswer | undefined>;

type Of<K extends Step['do']> = Extract<Step, { do: K }>;

interface OpenUpload {
  readonly path: string;
  /** What it holds, as far as everything went right. */
  bytes: Buffer;
  sure: boolean;
}

/** What a step sends, and the statuses that are right for it; none: any. */
interface Sent {
  readonly method: string;
  readonly target: string;
  readonly body?: Buffer;
  readonly headers?: readonly (readonly [string, string])[];
  readonly expect?: readonly number[] | undefined;
}

export class Sequence {
  readonly #repository: string;
  readonly #exchange: Exchange;
  readonly #fixtures: Fixtures;
  #upload: OpenUpload | undefined;
  #made = 0;
  /** What the repository is known to have. */
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, { size: number; mediaType: string; tag: string | undefined }>();

  constructor(repository: string, fixtures: Fixtures, exchange: Exchange) {
    this.#repository = repository;
    this.#fixtures = fixtures;
    this.#exchange = exchange;
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) await this.#step(step);
  }

  #step(step: Step): Promise<unknown> {
    switch (step.do) {
      case 'begin':
        return this.#begin(step);
      case 'chunk':
        return this.#chunk(step);
      case 'close':
        return this.#close(step);
      case 'whole':
        return this.#whole(step);
      case 'mount':
        return this.#mount(step);
      case 'manifest':
        return this.#manifest(step);
      case 'delete':
        return this.#delete(step);
      case 'list':
        return this.#list(step);
      case 'pull':
        return this.#pull(step);
      default:
        return this.#ask(step);
    }
  }

  async #begin(step: Of<'begin'>): Promise<void> {
    const target = this.#path(`blobs/uploads/${step.query}`);
    const answer = await this.#send(step, { method: 'POST', target, expect: [202] });
    this.#follow(answer, step.twist === undefined);
  }

  /** Goes on with the upload that an answer tells of. */
  #follow(answer: WireAnswer | undefined, sure: boolean): void {
    const path = answer?.status === 202 ? answer.headers.location : undefined;
    if (path) this.#upload = { path, bytes: Buffer.alloc(0), sure };
  }

  async #chunk(step: Of<'chunk'>): Promise<void> {
    const upload = this.#upload;
    if (!upload) return;
    const body = this.#bytes(step.size);
    const at = upload.bytes.length;
    const first = step.range === 'ahead' ? at + 1 : step.range === 'behind' ? Math.max(0, at - 1) : at;
    const last = first + step.size - 1 + (step.range === 'short' ? 1 : 0);
    const ranged = step.range !== 'none' && last >= first;
    const right = !ranged || (first === at && step.range !== 'short');
    const answer = await this.#send(step, {
      method: 'PATCH',
      target: upload.path,
      body,
      headers: ranged ? [['Content-Range', `${first}-${last}`]] : [],
      expect: upload.sure ? (right ? [202] : [400, 416]) : undefined,
    });
    if (step.twist) upload.sure = false;
    if (answer?.status === 202) upload.bytes = Buffer.concat([upload.bytes, body]);
  }

  async #close(step: Of<'close'>): Promise<void> {
    const upload = this.#upload;
    if (!upload) return;
    const body = this.#bytes(step.size);
    const bytes = Buffer.concat([upload.bytes, body]);
    const digest = digestFor(step.digest, bytes);
    const right = step.digest === 'right' || step.digest === 'sha512';
    const target = `${upload.path}${upload.path.includes('?') ? '&' : '?'}digest=${digest}`;
    const expect = upload.sure ? [right ? 201 : 400] : undefined;
    const answer = await this.#send(step, { method: 'PUT', target, body, expect });
    if (answer?.status === 201) this.#blobs.set(digest, bytes);
    // A malformed digest leaves the upload as it is.
    if (step.digest !== 'malformed' || step.twist) this.#upload = undefined;
  }

  async #whole(step: Of<'whole'>): Promise<void> {
    const body = this.#bytes(step.size);
    const digest = digestFor(step.digest, body);
    const right = step.digest === 'right' || step.digest === 'sha512';
    const target = this.#path(`blobs/uploads/?digest=${digest}`);
    const answer = await this.#send(step, { method: 'POST', target, body, expect: [right ? 201 : 400] });
    if (answer?.status === 201) this.#blobs.set(digest, body);
  }

  async #mount(step: Of<'mount'>): Promise<void> {
    const blob = this.#fixtures.blobs[2] ?? Buffer.alloc(0);
    const digest = step.from === 'odd' ? 'sha256:x' : sha256(blob);
    const from = step.from === 'fixture' ? `&from=${this.#fixtures.repositories[0]}` : '';
    const target = this.#path(`blobs/uploads/?mount=${digest}${from}`);
    const answer = await this.#send(step, { method: 'POST', target, expect: [201, 202] });
    if (answer?.status === 201) this.#blobs.set(digest, blob);
    this.#follow(answer, step.twist === undefined);
  }

  async #manifest(step: Of<'manifest'>): Promise<void> {
    const value = this.#valueOf(step.kind);
    const body = editedJson(value, step.edits);
    const tag = step.by === 'tag' ? 'v1' : step.by === 'tags' ? 'v2' : undefined;
    const digest = step.by === 'sha512' ? digestFor('sha512', body) : sha256(body);
    const reference = {
      tag: 'v1',
      tags: `${digest}?tag=v2&tag=v3`,
      digest,
      sha512: digest,
      wrong: sha256(Buffer.from('other bytes')),
    }[step.by];
    const answer = await this.#send(step, {
      method: 'PUT',
      target: this.#path(`manifests/${reference}`),
      body,
      headers: [['Content-Type', value.mediaType]],
      expect: step.by === 'wrong' ? [400] : step.edits.length === 0 ? [201] : undefined,
    });
    if (answer?.status === 201) this.#manifests.set(digest, { size: body.length, mediaType: value.mediaType, tag });
  }

  /** A manifest of what the repository has. */
  #valueOf(kind: Of<'manifest'>['kind']) {
    const [config, ...layers] = [...this.#blobs].map(([digest, bytes]) => ({
      mediaType: 'application/octet-stream',
      digest,
      size: bytes.length,
    }));
    const known = [...this.#manifests].map(([digest, { size, mediaType }]) => ({ mediaType, digest, size }));
    const own = { schemaVersion: 2, annotations: { made: this.#bytes(8).toString('hex') } };
    if (kind === 'index') return { ...own, mediaType: imageIndexType, manifests: known };
    const image = { ...own, mediaType: imageManifestType, ...(config ? { config } : {}), layers };
    const subject = known[0] ?? { mediaType: imageManifestType, digest: sha256(Buffer.from('none')), size: 4 };
    return kind === 'image' ? image : { ...image, artifactType: 'application/vnd.test', subject };
  }

  async #delete(step: Of<'delete'>): Promise<void> {
    const [manifest] = [...this.#manifests].map(([digest, { tag }]) => ({ digest, tag }));
    const [blob] = this.#blobs.keys();
    const digest = step.what === 'blob' ? blob : manifest?.digest;
    const reference = step.what === 'tag' ? (manifest?.tag ?? 'none') : (digest ?? sha256(Buffer.from('none')));
    const target = this.#path(`${step.what === 'blob' ? 'blobs' : 'manifests'}/${reference}`);
    // A tag may have gone to a later manifest, or with it.
    const expect = step.what === 'tag' ? [202, 404] : [digest ? 202 : 404];
    // Whatever comes of it, nothing is sure any more.
    if (step.what === 'blob' && blob) this.#blobs.delete(blob);
    if (step.what === 'manifest' && digest) this.#manifests.delete(digest);
    await this.#send(step, { method: 'DELETE', target, expect: step.twist ? undefined : expect });
  }

  async #list(step: Of<'list'>): Promise<void> {
    const subject = [...this.#manifests.keys()][0] ?? sha256(Buffer.from('none'));
    for (const path of ['tags/list?n=1', `referrers/${subject}`, `referrers/${subject}?artifactType=a/b&n=1`]) {
      await this.#send(step, { method: 'GET', target: this.#path(path), expect: [200, 404] });
    }
  }

  async #pull(step: Of<'pull'>): Promise<void> {
    const kept = [
      ...[...this.#blobs.keys()].map(digest => `blobs/${digest}`),
      ...[...this.#manifests.keys()].map(digest => `manifests/${digest}`),
    ];
    for (const path of kept) await this.#send(step, { method: 'GET', target: this.#path(path), expect: [200] });
  }

  /** Asks where the upload is, or cancels it. */
  async #ask(step: Of<'status' | 'cancel'>): Promise<void> {
    const upload = this.#upload;
    if (!upload) return;
    const method = step.do === 'cancel' ? 'DELETE' : 'GET';
    const answer = await this.#send(step, { method, target: upload.path, expect: upload.sure ? [204] : undefined });
    if (step.do === 'cancel') {
      this.#upload = undefined;
    } else if (upload.sure && !step.twist) {
      const right = `0-${Math.max(0, upload.bytes.length - 1)}`;
      if (answer?.headers.range !== right) throw new Error(`the upload is at ${right}, not ${answer?.headers.range}`);
    }
  }

  /** Others each time, and the same in each run. */
  #bytes(size: number): Buffer {
    return Buffer.concat([...pseudoRandom(size, `${this.#repository} ${this.#made++}`)]);
  }

  #path(rest: string): string {
    return `/v2/${this.#repository}/${rest}`;
  }

  /** Sends what a step sends, twisted; the answer that counts. */
  async #send({ region, twist }: Pick<Step, 'region' | 'twist'>, sent: Sent): Promise<WireAnswer | undefined> {
    const request: WireRequest = {
      method: sent.method,
      target: sent.target + (twist?.suffix ?? ''),
      version: 'HTTP/1.1',
      headers: [['Host', 'localhost'], ...(sent.headers ?? []), ...(twist?.header ? [twist.header] : [])],
      framing: sent.body || sent.method !== 'GET' ? { kind: 'length', off: 0 } : { kind: 'none' },
      body: sent.body ?? Buffer.alloc(0),
      leaveAfter: twist?.leaveAfter,
    };
    const [answer, other] = await Promise.all([
      this.#exchange(region, request),
      twist?.twice ? this.#exchange(1 - region, request) : undefined,
    ]);
    if (twist) return answer && answer.status < 300 ? answer : (other ?? answer);
    if (sent.expect && !sent.expect.includes(answer?.status ?? 0)) {
      throw new Error(
        `${sent.method} ${sent.target}: ${answer?.status} instead of ${sent.expect.join(' or ')}: ${answer?.body}`,
      );
    }
    return answer;
  }
}

function digestFor(kind: Of<'close'>['digest'], bytes: Buffer): string {
  switch (kind) {
    case 'right':
      return sha256(bytes);
    case 'sha512':
      return `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    case 'wrong':
      return sha256(Buffer.concat([bytes, Buffer.from('!')]));
    default:
      return 'sha256:malformed';
  }
}
