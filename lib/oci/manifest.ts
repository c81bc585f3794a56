/**
 * What a registry must know of a manifest: which blobs and manifests it needs, and what it is attached to.
 *
 * Everything else in it is its author's business: unknown fields and media types are kept byte for byte.
 */
import { z } from 'zod';
import { type Digest, parseDigest } from './digest.js';
import { isImageType, isIndexType, isMediaType, isNonDistributable } from './media-types.js';

/** A manifest that cannot be stored; the message says why, for the one who pushed it. */
export class ManifestInvalid extends Error {
  override readonly name = 'ManifestInvalid';
}

/** What a manifest says, as far as the registry must know. */
export interface ManifestFacts {
  readonly mediaType: string;
  /** The media type of its config, if it has one. */
  readonly configMediaType: string | undefined;
  /** Its `artifactType`, or an image's config media type in its place (distribution specification, "Listing Referrers"). */
  readonly artifactType: string | undefined;
  /** What it is attached to. */
  readonly subject: Digest | undefined;
  readonly annotations: Readonly<Record<string, string>>;
  /** How many of its layers a client may keep to itself, and need not be here. */
  readonly nonDistributable: number;
  /** Sum of its layers' sizes, in bytes. */
  readonly layersSize: number;
  /** Its config and layers, without those that a client may keep to itself; each once, sorted. */
  readonly blobs: readonly Digest[];
  /** The manifests that it lists; each once, sorted. */
  readonly children: readonly Digest[];
}

const digest = z.string().transform((text, context) => {
  const parsed = parseDigest(text);
  if (!parsed) context.addIssue('is not a digest (sha256:<64 hex> or sha512:<128 hex>)');
  return parsed ?? z.NEVER;
});
const size = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const mediaType = z.string().refine(isMediaType, 'is not a media type');
/**
 * A list that ends at its first bad entry, as annotations do below. zod's own would gather what is wrong with each, and a
 * manifest has room for two million: that took gigabytes, and all other requests waited for most of a minute.
 */
function listOf<T>(entry: z.ZodType<T>) {
  return z.custom<readonly unknown[]>(Array.isArray, 'is not a list').transform((entries, context): T[] => {
    const read: T[] = [];
    for (const [index, each] of entries.entries()) {
      const { data, error } = entry.safeParse(each);
      if (error) {
        for (const { message, path } of error.issues)
          context.addIssue({ code: 'custom', message, path: [index, ...path] });
        return z.NEVER;
      }
      read.push(data);
    }
    return read;
  });
}

/** Half of a surrogate pair, and U+0000, are JSON but no text to the database, which keeps annotations beside the bytes. */
function isPlainText(text: string): boolean {
  return !text.includes('\0') && !/\p{Surrogate}/u.test(text);
}

const NOT_PLAIN = 'has a character that cannot be kept (U+0000 or U+D800 to U+DFFF)';

/** What is wrong with an annotation, if anything is. */
function flawOf(name: string, value: unknown): string | undefined {
  if (typeof value !== 'string') return 'is not a text';
  return isPlainText(name) && isPlainText(value) ? undefined : NOT_PLAIN;
}

const annotations = z
  .custom<Readonly<Record<string, string>>>(isObject, 'is not an object')
  .superRefine((entries, context) => {
    for (const [name, value] of Object.entries(entries)) {
      const message = flawOf(name, value);
      if (message === undefined) continue;
      context.addIssue({ code: 'custom', message, path: [name] });
      return;
    }
  });

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const descriptor = z.object({ mediaType, digest, size, urls: listOf(z.string()).optional() });

const manifest = z.object({
  schemaVersion: z.literal(2),
  mediaType: mediaType.optional(),
  // An empty one counts as none (image specification, "Guidelines for Artifact Usage").
  artifactType: mediaType.or(z.literal('')).optional(),
  // Go writes an empty list that was never made as null.
  config: descriptor.nullish(),
  layers: listOf(descriptor).nullish(),
  manifests: listOf(descriptor).nullish(),
  subject: descriptor.nullish(),
  annotations: annotations.nullish(),
});

/**
 * What is an image to one client and an index to another, under one digest, hides from one of them what the other runs
 * (CVE-2021-41190).
 */
const AMBIGUOUS = 'cannot stand in the manifest';

/** Reads a manifest that was pushed as `contentType` (without parameters). Throws ManifestInvalid. */
export function readManifest(bytes: Buffer, contentType: string): ManifestFacts {
  const parsed = manifest.safeParse(parseJson(bytes));
  if (!parsed.success) throw new ManifestInvalid(describe(parsed.error));
  const { data } = parsed;
  if (data.mediaType && data.mediaType !== contentType) {
    throw new ManifestInvalid(`mediaType is ${data.mediaType}, but the Content-Type says ${contentType}`);
  }
  if (isImageType(contentType) && data.manifests) throw new ManifestInvalid(`manifests: ${AMBIGUOUS} of an image`);
  if (isIndexType(contentType) && (data.config || data.layers)) {
    throw new ManifestInvalid(`${data.config ? 'config' : 'layers'}: ${AMBIGUOUS} of an index`);
  }
  const layers = data.layers ?? [];
  const layersSize = layers.reduce((sum, layer) => sum + layer.size, 0);
  if (!Number.isSafeInteger(layersSize)) throw new ManifestInvalid('its layers are too large together');
  const distributable = layers.filter(layer => !isNonDistributable(layer.mediaType));
  const needed = [...(data.config ? [data.config] : []), ...distributable];
  return {
    mediaType: contentType,
    configMediaType: data.config?.mediaType,
    artifactType: data.artifactType || data.config?.mediaType,
    subject: data.subject?.digest,
    annotations: data.annotations ?? {},
    nonDistributable: layers.length - distributable.length,
    layersSize,
    blobs: distinct(needed),
    children: distinct(data.manifests ?? []),
  };
}

/** A byte order mark, which would be no part of the text, stays in it, and is no JSON: clients could not read it either. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new ManifestInvalid(`the manifest is not JSON in UTF-8: ${error instanceof Error ? error.message : ''}`);
  }
}

function describe(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map(issue => `${placeOf(issue) || 'the manifest'}: ${issue.message}`)
    .join('; ');
}

/** Where in the manifest it is. Cut: a name of its author's making may be as long as the manifest. */
function placeOf({ path }: z.core.$ZodIssue): string {
  const place = path.join('.');
  return place.length > 200 ? `${place.slice(0, 200)}…` : place;
}

function distinct(descriptors: readonly { digest: Digest }[]): Digest[] {
  return [...new Set(descriptors.map(each => each.digest))].sort();
}
