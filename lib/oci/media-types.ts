/** The media types that mean something to a registry. Any other is stored and served as it came. */

export const IMAGE_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const IMAGE_INDEX = 'application/vnd.oci.image.index.v1+json';

const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** Whether it is one image's: with a config and layers. */
export function isImageType(mediaType: string): boolean {
  return [IMAGE_MANIFEST, DOCKER_IMAGE].includes(mediaType.toLowerCase());
}

/** Whether it is that of a list of manifests. */
export function isIndexType(mediaType: string): boolean {
  return [IMAGE_INDEX, DOCKER_LIST].includes(mediaType.toLowerCase());
}

/** Layers that a client may keep from a registry: their absence is no error (image specification, "Non-Distributable Layers"). */
export function isNonDistributable(mediaType: string): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}

/** Whether `text` can be a media type (RFC 6838: type and subtype, no parameters). */
export function isMediaType(text: string): boolean {
  return /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i.test(text);
}
