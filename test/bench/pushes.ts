/** Pushes with the requests that docker makes; a repository is its path, for example `/v2/bench/image`. */
import { randomBytes } from 'node:crypto';
import { imageManifestType, sha256 } from '../support/oci-client.js';
import { type Body, bodyOf, type Client } from './client.js';

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';

/** Pushes an image of three layers of 4 KiB that nobody has seen, with the requests that docker makes. */
export async function pushSmallImage(client: Client, repository: string, tag: string): Promise<void> {
  const descriptors: { mediaType: string; digest: string; size: number }[] = [];
  const blobs = [CONFIG_TYPE, LAYER_TYPE, LAYER_TYPE, LAYER_TYPE].map(mediaType => ({
    mediaType,
    bytes: mediaType === CONFIG_TYPE ? Buffer.from(JSON.stringify({ id: randomBytes(64) })) : randomBytes(4096),
  }));
  for (const { mediaType, bytes } of blobs) {
    const digest = sha256(bytes);
    await client.send('HEAD', `${repository}/blobs/${digest}`, 404);
    await pushBlob(client, repository, bodyOf(bytes), digest, 'patch');
    descriptors.push({ mediaType, digest, size: bytes.length });
  }
  const [config, ...layers] = descriptors;
  const manifest = { schemaVersion: 2, mediaType: imageManifestType, config, layers };
  await client.send('PUT', `${repository}/manifests/${tag}`, 201, {
    headers: { 'content-type': imageManifestType },
    body: bodyOf(Buffer.from(JSON.stringify(manifest))),
  });
}

/** Pushes a blob. */
export async function pushBlob(
  client: Client,
  repository: string,
  body: Body,
  digest: string,
  way: 'put' | 'patch',
): Promise<void> {
  const headers = { 'content-type': 'application/octet-stream' };
  const begun = await client.send('POST', `${repository}/blobs/uploads/`, 202);
  let location = locationOf(begun.headers.location);
  if (way === 'patch') {
    const patched = await client.send('PATCH', location, 202, { headers, body, chunked: true });
    location = locationOf(patched.headers.location);
  }
  const closing = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
  await client.send('PUT', closing, 201, way === 'put' ? { headers, body } : {});
}

function locationOf(header: string | undefined): string {
  if (header === undefined) throw new Error('the answer has no Location');
  return header.replace(/^https?:\/\/[^/]*/, '');
}
