/** `/v2/<name>/referrers/<digest>`: what is attached to a manifest; an index of it, which may be empty, never an error. */
import type { Referrer } from '../../lib/metadata/referrers.js';
import { parseDigest } from '../../lib/oci/digest.js';
import { IMAGE_INDEX, isMediaType } from '../../lib/oci/media-types.js';
import { oci } from '../http/errors.js';
import { linkNext, readPage } from './pages.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';

export function referrers({ authorizer, referrers }: Parts): Resource<'referrers'> {
  const list: Resource<'referrers'>[string] = async (ctx, { repository, subject }, query) => {
    authorizer.demand(ctx, repository, 'pull');
    const { last, limit } = readPage(query, 'digest', parseDigest);
    const artifactType = readArtifactType(query);
    const page = await referrers.list(repository, subject, { artifactType, last, limit });
    const end = page.referrers.at(-1)?.digest;
    if (page.more && end !== undefined) {
      const asked = { ...(query.has('n') ? { n: limit } : {}), ...(artifactType ? { artifactType } : {}) };
      linkNext(ctx, `/v2/${repository}/referrers/${subject}`, { ...asked, last: end });
    }
    if (artifactType) ctx.set('OCI-Filters-Applied', 'artifactType');
    // Before the body: Koa would choose a type of its own. Exactly this one, without parameters.
    ctx.set('Content-Type', IMAGE_INDEX);
    const manifests = page.referrers.map(descriptorOf);
    ctx.body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: IMAGE_INDEX, manifests }));
  };
  return { GET: list, HEAD: list };
}

/** The only kind that is asked for. */
function readArtifactType(query: URLSearchParams): string | undefined {
  // A plus sign that was not encoded has become a space, and no media type has one.
  const type = query.get('artifactType')?.replaceAll(' ', '+');
  if (!type) return undefined;
  if (!isMediaType(type)) throw oci.parameterInvalid('artifactType must be a media type');
  return type;
}

function descriptorOf({ mediaType, digest, size, artifactType, annotations }: Referrer) {
  return {
    mediaType,
    digest,
    size,
    ...(artifactType ? { artifactType } : {}),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}
