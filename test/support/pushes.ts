/** Pushes of blobs, request by request, as clients make them; and what they are made of. */
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { OciClient, OciResponse } from './oci-client.js';

export function digestOf(bytes: Buffer, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

export function someBytes(size: number): Buffer {
  return randomBytes(size);
}

/** The code of an error in the specification's form. */
export function codeOf(answer: { body: Buffer | string }): string {
  return JSON.parse(answer.body.toString()).errors[0].code;
}

/** `location` with `digest` added to its query, as clients do. */
export function closing(location: string | undefined, digest: string): string {
  if (location === undefined) throw new Error('the answer has no Location');
  return `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
}

/** Begins an upload; its Location. */
export async function begin(client: OciClient, repository: string, query = ''): Promise<string> {
  const answer = await client.request('POST', `/v2/${repository}/blobs/uploads/${query}`);
  if (answer.status !== 202) throw new Error(`POST: ${answer.status} ${answer.body}`);
  return answer.headers.location ?? '';
}

/** The ways to push a blob: each sends `bytes`, and closes with `digest`. */
export const waysToPush: Readonly<
  Record<string, (client: OciClient, repository: string, bytes: Buffer, digest: string) => Promise<OciResponse>>
> = {
  'POST with digest': (client, repository, body, digest) =>
    client.request('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body }),
  'POST, PUT': async (client, repository, body, digest) =>
    client.request('PUT', closing(await begin(client, repository, algorithmHint(digest)), digest), { body }),
  'POST, streamed PATCH, PUT': async (client, repository, body, digest) => {
    const location = await begin(client, repository);
    const patched = await client.request('PATCH', location, { body: Readable.from([body]) });
    return client.request('PUT', closing(patched.headers.location, digest), { headers: { 'content-length': 0 } });
  },
  'POST, chunks, PUT': async (client, repository, bytes, digest) => {
    const location = await chunks(client, await begin(client, repository, algorithmHint(digest)), bytes, bytes.length);
    return client.request('PUT', closing(location, digest), { headers: { 'content-length': 0 } });
  },
  'POST, chunks, PUT with the last one': async (client, repository, bytes, digest) => {
    const upTo = Math.floor(bytes.length / 2);
    const location = await chunks(client, await begin(client, repository), bytes, upTo);
    const headers: Record<string, string> =
      bytes.length > upTo ? { 'content-range': `${upTo}-${bytes.length - 1}` } : {};
    return client.request('PUT', closing(location, digest), { body: bytes.subarray(upTo), headers });
  },
};

function algorithmHint(digest: string): string {
  return digest.startsWith('sha512') ? '?digest-algorithm=sha512' : '';
}

async function chunks(client: OciClient, first: string, bytes: Buffer, upTo: number): Promise<string> {
  const size = Math.max(1, Math.ceil(upTo / 3));
  let location = first;
  for (let at = 0; at < upTo; at += size) {
    const body = bytes.subarray(at, Math.min(at + size, upTo));
    const headers = { 'content-range': `${at}-${at + body.length - 1}` };
    const answer = await client.request('PATCH', location, { body, headers });
    if (answer.status !== 202) throw new Error(`PATCH: ${answer.status} ${answer.body}`);
    location = answer.headers.location ?? '';
  }
  return location;
}
