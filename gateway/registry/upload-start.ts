/** `POST /v2/<name>/blobs/uploads/`: begins an upload, takes a blob as a whole, or mounts one from another repository. */
import { randomUUID } from 'node:crypto';
import { appendUpload } from '../../lib/locations/append.js';
import type { Location } from '../../lib/locations/location.js';
import { beginUpload } from '../../lib/locations/upload.js';
import {
  algorithmOf,
  type Digest,
  type DigestAlgorithm,
  isDigestAlgorithm,
  parseDigest,
} from '../../lib/oci/digest.js';
import { parseRepository, type RepositoryName } from '../../lib/oci/name.js';
import { hasReason } from '../../lib/rpc/errors.js';
import { annotate } from '../../lib/telemetry/span.js';
import { readBody } from '../http/body.js';
import type { Context } from '../http/context.js';
import { oci } from '../http/errors.js';
import { answerBlobCreated, answerEmpty, digestOfQuery } from './answers.js';
import type { Parts } from './parts.js';
import type { Resource } from './registry.js';
import { uploadHeaders } from './upload-answers.js';
import { abortQuietly, commitBlob, layerTooLarge } from './upload-storage.js';

/** The guess, what the database says instead, and once more if that is changed just then. */
const BEGIN_ATTEMPTS = 3;
const MOVED = "the namespace's locations were changed just now: try again";

export function startUpload(parts: Parts): Resource<'uploads'> {
  const { authorizer, blobs, config, locations, replayBudget, replicationSignal, residency, uploads } = parts;

  const post: Resource<'uploads'>[string] = async (ctx, { repository }, query) => {
    authorizer.demand(ctx, repository, 'push');
    const mounted = query.has('mount') ? await mount(ctx, repository, query) : undefined;
    if (mounted) answerBlobCreated(ctx, repository, mounted);
    else if (query.has('digest')) await takeWhole(ctx, repository, digestOfQuery(query));
    else await begin(ctx, repository, algorithmOfQuery(query));
  };

  /**
   * The digest of the blob, if it could be mounted. Anything else, also a malformed digest or name, begins an ordinary
   * upload, as the specification wants: a client that tries to save work must not fail for it. So does a repository
   * that the caller may not pull from, or an error would tell that it has the blob.
   */
  async function mount(ctx: Context, repository: RepositoryName, query: URLSearchParams): Promise<Digest | undefined> {
    const digest = parseDigest(query.get('mount') ?? '');
    const source = query.get('from');
    const from = source ? parseRepository(source) : undefined;
    if (!digest || (source && !from)) return undefined;
    const sources = authorizer.sources(ctx, from);
    if (sources.isEmpty) return undefined;
    const found = await blobs.mount({ repository, digest, from: sources, traceId: ctx.state.traceId });
    if (!found) return undefined;
    replicationSignal.notify();
    return digest;
  }

  /** The whole blob is this request's body. No row is made for it: nobody could go on with it. */
  async function takeWhole(ctx: Context, repository: RepositoryName, digest: Digest): Promise<void> {
    annotate({ 'entrepot.digest': digest });
    const { traceId } = ctx.state;
    const limit = config.maximumLayerSize;
    const body = readBody(ctx, { limit, tooLarge: () => layerTooLarge(limit) });
    const { location, checkpoint } = await beginUpload(
      locations,
      { digest, algorithm: algorithmOf(digest), allowed: await residency.find(repository) },
      ctx.state,
    );
    const affinity = randomUUID();
    let newest = checkpoint;
    try {
      newest = await appendUpload({
        location,
        start: checkpoint,
        source: body,
        onCheckpoint: each => {
          newest = each;
        },
        budget: replayBudget,
        context: { traceId, affinity },
      });
      const size = await commitBlob(location, newest.session, digest, { ...ctx.state, affinity });
      const blob = { repository, digest, size, location: location.name, traceId };
      // What was made there stays, and belongs to nobody (upload-close.ts).
      if (!(await blobs.record(blob))) throw oci.unavailable(MOVED);
    } catch (error) {
      await abortQuietly(location, newest.session, ctx.state.log);
      // The client knows of no upload: what it can do is to send the blob again.
      throw hasReason(error, 'UPLOAD_UNKNOWN') ? oci.unavailable('the blob was lost on its way: send it again') : error;
    }
    replicationSignal.notify();
    answerBlobCreated(ctx, repository, digest);
  }

  async function begin(ctx: Context, repository: RepositoryName, algorithm: DigestAlgorithm): Promise<void> {
    let allowed = residency.guess(repository);
    for (let attempt = 0; attempt < BEGIN_ATTEMPTS; attempt++) {
      const { location, checkpoint } = await beginUpload(locations, { algorithm, allowed }, ctx.state);
      const { session } = checkpoint;
      const uuid = randomUUID();
      try {
        const answer = await uploads.create({ repository, uuid, location: location.name, session, algorithm });
        residency.note(repository, answer.allowed);
        if (answer.created) {
          answerEmpty(ctx, 202, { ...uploadHeaders(repository, uuid, 0), ...chunkHint(location) });
          return;
        }
        allowed = answer.allowed;
      } catch (error) {
        await abortQuietly(location, session, ctx.state.log);
        throw error;
      }
      // It must not be there. It is empty still.
      await abortQuietly(location, session, ctx.state.log);
    }
    throw oci.unavailable(MOVED);
  }

  return { POST: post };
}

function chunkHint({ minChunkBytes }: Location): Record<string, string> {
  return minChunkBytes > 0 ? { 'OCI-Chunk-Min-Length': String(minChunkBytes) } : {};
}

function algorithmOfQuery(query: URLSearchParams): DigestAlgorithm {
  const name = query.get('digest-algorithm') ?? 'sha256';
  if (!isDigestAlgorithm(name)) throw oci.algorithmUnsupported(name);
  return name;
}
