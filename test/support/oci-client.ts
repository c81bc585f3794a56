/**
 * A tiny registry client for tests, straight on node:http: paths go out exactly as they are given (nothing is decoded,
 * resolved or normalised), and every answer comes back whole, whatever its status.
 */
import { createHash } from 'node:crypto';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface OciResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Buffer | string | Readable;
  readonly signal?: AbortSignal;
}

export interface OciClient {
  /** Sends one request; `path` begins with a slash and may hold a query. A `Location` with a host is a path here too. */
  request(method: string, path: string, options?: RequestOptions): Promise<OciResponse>;
  /** Pushes a blob with POST and PUT; returns its digest. Throws if an answer is not what the specification says. */
  pushBlob(repository: string, bytes: Buffer): Promise<string>;
  /** Pushes a manifest (an object is written as JSON); returns its digest and its bytes. */
  pushManifest(
    repository: string,
    reference: string,
    manifest: Buffer | Readonly<Record<string, unknown>>,
    mediaType?: string,
  ): Promise<{ digest: string; bytes: Buffer }>;
  pullBlob(repository: string, digest: string): Promise<Buffer>;
  pullManifest(repository: string, reference: string): Promise<{ mediaType: string; digest: string; bytes: Buffer }>;
  /** Pushes an image of random layers (sizes in bytes) and returns what was pushed. */
  pushImage(repository: string, tag: string, layers: readonly Buffer[]): Promise<PushedImage>;
  /** Closes the connections that are kept open. */
  close(): void;
}

export interface PushedImage {
  readonly digest: string;
  readonly config: string;
  readonly layers: readonly string[];
}

export const imageManifestType = 'application/vnd.oci.image.manifest.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar';

export function sha256(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** A client of the registry at `base`, for example `http://127.0.0.1:8080`. Call `close()` when done. */
export function ociClient(base: string): OciClient {
  return clientOf(base, undefined);
}

/** One that signs in where it is asked to, as registry clients do. `credentials`: `name:password`. */
export function signedInClient(base: string, credentials: string): OciClient {
  return clientOf(base, credentials);
}

function clientOf(base: string, credentials: string | undefined): OciClient {
  const { hostname, port } = new URL(base);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const tokens = new Map<string, string>();

  async function request(method: string, path: string, options: RequestOptions = {}): Promise<OciResponse> {
    const first = await send(method, path, options);
    const challenge = first.status === 401 ? String(first.headers['www-authenticate']) : '';
    if (credentials === undefined || !challenge.startsWith('Bearer ')) return first;
    const token = tokens.get(challenge) ?? (await fetchToken(challenge, credentials));
    if (token === undefined) return first;
    tokens.set(challenge, token);
    return send(method, path, { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } });
  }

  async function fetchToken(challenge: string, nameAndPassword: string): Promise<string | undefined> {
    const { realm = '', service = '', scope } = challengeOf(challenge);
    const query = new URLSearchParams({ service, ...(scope === undefined ? {} : { scope }) });
    const authorization = `Basic ${Buffer.from(nameAndPassword).toString('base64')}`;
    const answer = await send('GET', `${realm}?${query}`, { headers: { authorization } });
    return answer.status === 200 ? JSON.parse(answer.body.toString()).token : undefined;
  }

  async function send(method: string, path: string, options: RequestOptions = {}): Promise<OciResponse> {
    const { body, headers = {}, signal } = options;
    const length = typeof body === 'string' || Buffer.isBuffer(body) ? Buffer.byteLength(body) : undefined;
    const sent = httpRequest({
      method,
      hostname,
      port,
      path: pathOf(path),
      agent,
      headers: { ...(length === undefined ? {} : { 'content-length': length }), ...headers },
      ...(signal === undefined ? {} : { signal }),
    });
    const answered = new Promise<OciResponse>((resolve, reject) => {
      sent.once('error', reject);
      sent.once('response', response => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
    });
    // An early answer ends the sending; what then counts is the answer.
    if (typeof body === 'string' || Buffer.isBuffer(body) || body === undefined) sent.end(body);
    else pipeline(body, sent).catch(() => {});
    return answered;
  }

  async function expect(status: number, method: string, path: string, options?: RequestOptions): Promise<OciResponse> {
    const response = await request(method, path, options);
    if (response.status === status) return response;
    throw new Error(`${method} ${path}: ${response.status} instead of ${status}: ${response.body.toString()}`);
  }

  async function pushBlob(repository: string, bytes: Buffer): Promise<string> {
    const digest = sha256(bytes);
    const begun = await expect(202, 'POST', `/v2/${repository}/blobs/uploads/`);
    const location = begun.headers.location;
    if (location === undefined) throw new Error('the answer to POST has no Location');
    const url = `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
    await expect(201, 'PUT', url, { body: bytes, headers: { 'content-type': 'application/octet-stream' } });
    return digest;
  }

  async function pushManifest(
    repository: string,
    reference: string,
    manifest: Buffer | Readonly<Record<string, unknown>>,
    mediaType?: string,
  ): Promise<{ digest: string; bytes: Buffer }> {
    const bytes = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest));
    const own = Buffer.isBuffer(manifest) ? undefined : manifest.mediaType;
    const type = mediaType ?? (typeof own === 'string' ? own : imageManifestType);
    const headers = { 'content-type': type };
    await expect(201, 'PUT', `/v2/${repository}/manifests/${reference}`, { body: bytes, headers });
    return { digest: sha256(bytes), bytes };
  }

  async function pushImage(repository: string, tag: string, layers: readonly Buffer[]): Promise<PushedImage> {
    const diffIds = layers.map(sha256);
    const config = Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }),
    );
    for (const layer of layers) await pushBlob(repository, layer);
    const configDigest = await pushBlob(repository, config);
    const { digest } = await pushManifest(repository, tag, {
      schemaVersion: 2,
      mediaType: imageManifestType,
      config: { mediaType: configType, digest: configDigest, size: config.length },
      layers: layers.map(layer => ({ mediaType: layerType, digest: sha256(layer), size: layer.length })),
    });
    return { digest, config: configDigest, layers: diffIds };
  }

  return {
    request,
    pushBlob,
    pushManifest,
    pushImage,
    pullBlob: async (repository, digest) => (await expect(200, 'GET', `/v2/${repository}/blobs/${digest}`)).body,
    pullManifest: async (repository, reference) => {
      const { headers, body } = await expect(200, 'GET', `/v2/${repository}/manifests/${reference}`, {
        headers: { accept: '*/*' },
      });
      const digest = headers['docker-content-digest'];
      return {
        mediaType: headers['content-type'] ?? '',
        digest: typeof digest === 'string' ? digest : sha256(body),
        bytes: body,
      };
    },
    close: () => agent.destroy(),
  };
}

/** The parameters of a challenge, each of which must be quoted. */
export function challengeOf(header: string): Record<string, string> {
  const text = header.replace(/^Bearer /, '');
  if (!/^(\w+="[^"]*",)*\w+="[^"]*"$/.test(text)) throw new Error(`this is no challenge of Bearer: ${header}`);
  return Object.fromEntries([...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
}

/** The path and query of a URL, or the text itself if it is a path already. */
function pathOf(location: string): string {
  if (location.startsWith('/')) return location;
  return location.replace(/^https?:\/\/[^/]*/, '');
}
