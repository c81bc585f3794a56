/** What the registry holds before anything odd is asked of it, and the right words for it. */
import { imageIndexType, pseudoRandom } from '../support/images.js';
import { imageManifestType, type OciClient, sha256 } from '../support/oci-client.js';

export interface Fixtures {
  readonly repositories: readonly string[];
  readonly digests: readonly string[];
  readonly tags: readonly string[];
  /** Of unfinished uploads. */
  readonly uuids: readonly string[];
  readonly blobs: readonly Buffer[];
  readonly manifests: readonly Readonly<Record<string, unknown>>[];
  readonly mediaTypes: readonly string[];
}

const SIZES = [0, 1, 1_000, 150_000];
const octets = 'application/octet-stream';

/** Pushes them. */
export async function pushFixtures(client: OciClient): Promise<Fixtures> {
  const repositories = ['fuzz', 'fuzz/a', 'fuzz/b__c'];
  const blobs = SIZES.map(size => Buffer.concat([...pseudoRandom(size, `fixture ${size}`)]));
  const manifests: Record<string, unknown>[] = [];
  const uuids: string[] = [];
  const digests: string[] = [];
  const described = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const [empty = Buffer.alloc(0), ...layers] = blobs;
  const image = {
    schemaVersion: 2,
    mediaType: imageManifestType,
    config: described(empty, 'application/vnd.oci.image.config.v1+json'),
    layers: layers.map(layer => described(layer, 'application/vnd.oci.image.layer.v1.tar')),
    annotations: { one: 'two' },
  };
  const imageBytes = Buffer.from(JSON.stringify(image));
  const index = { schemaVersion: 2, mediaType: imageIndexType, manifests: [described(imageBytes, imageManifestType)] };
  const artifact = {
    ...{ schemaVersion: 2, mediaType: imageManifestType, artifactType: 'application/vnd.test.sbom' },
    config: { ...described(empty, octets), data: '' },
    layers: [described(empty, octets)],
    subject: described(imageBytes, imageManifestType),
  };
  manifests.push(image, index, artifact);
  for (const repository of repositories) {
    for (const blob of blobs) digests.push(await client.pushBlob(repository, blob));
    for (const [number, manifest] of manifests.entries()) {
      digests.push((await client.pushManifest(repository, `v${number}`, manifest)).digest);
    }
    for (let each = 0; each < 3; each++) {
      const { headers } = await client.request('POST', `/v2/${repository}/blobs/uploads/`);
      uuids.push(String(headers['docker-upload-uuid']));
    }
  }
  return {
    repositories,
    digests: [...new Set(digests)],
    tags: manifests.map((_, number) => `v${number}`),
    uuids,
    blobs,
    manifests,
    mediaTypes: [imageManifestType, imageIndexType, 'application/vnd.docker.distribution.manifest.v2+json'],
  };
}
