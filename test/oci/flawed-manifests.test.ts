/** Manifests that are refused, read without a registry around: what is said of them, and how much it costs to find out. */
import * as assert from 'uvu/assert';
import { ManifestInvalid, readManifest } from '../../lib/oci/manifest.js';
import { IMAGE_INDEX, IMAGE_MANIFEST } from '../../lib/oci/media-types.js';
import { suite } from '../support/suite.js';

const test = suite('flawed manifests');

const layer = { mediaType: 'a/b', digest: `sha256:${'a'.repeat(64)}`, size: 1 };

/** What is said of a manifest that must be refused. */
function flawOf(manifest: object | Buffer, type = IMAGE_MANIFEST): string {
  const bytes = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify({ schemaVersion: 2, ...manifest }));
  try {
    readManifest(bytes, type);
  } catch (error) {
    assert.instance(error, ManifestInvalid);
    return error instanceof Error ? error.message : '';
  }
  throw new Error('it was taken');
}

test('of many flaws the first is told, and no other is looked for', () => {
  const many = (bad: unknown) => Array(200_000).fill(bad);
  assert.is(flawOf({ layers: [layer, ...many(0)] }), 'layers.1: Invalid input: expected object, received number');
  assert.match(
    flawOf({ manifests: many({}) }),
    /^manifests\.0\.mediaType: [^.]*; manifests\.0\.digest: [^.]*; manifests\.0\.size: [^.]*$/,
  );
  assert.match(flawOf({ config: { ...layer, urls: many(0) } }), /^config\.urls\.0: [^;]*$/);
  const annotations = Object.fromEntries(many(0).map((bad, index) => [`a${index}`, bad]));
  assert.is(flawOf({ annotations: { good: '', ...annotations } }), 'annotations.a0: is not a text');
});

test('what is wrong with one thing is told as a whole', () => {
  assert.match(flawOf({ layers: [{}] }), /^layers\.0\.mediaType: .*; layers\.0\.digest: .*; layers\.0\.size: /);
  assert.match(flawOf({ layers: {}, annotations: [] }), /^layers: is not a list; annotations: is not an object$/);
});

test('what some clients would take for an image, and others for an index', () => {
  const image = { config: layer, layers: [layer] };
  for (const type of [
    IMAGE_MANIFEST,
    'application/vnd.docker.distribution.manifest.v2+json',
    IMAGE_MANIFEST.toUpperCase(),
  ]) {
    assert.is(flawOf({ ...image, manifests: [] }, type), 'manifests: cannot stand in the manifest of an image');
  }
  for (const type of [IMAGE_INDEX, 'application/vnd.docker.distribution.manifest.list.v2+json']) {
    assert.is(flawOf({ manifests: [], layers: [] }, type), 'layers: cannot stand in the manifest of an index');
    assert.is(flawOf(image, type), 'config: cannot stand in the manifest of an index');
  }
  // Of what is neither we know nothing; Go writes an empty list as null.
  for (const [manifest, type] of [
    [{ ...image, manifests: [] }, 'application/x.y'],
    [{ ...image, manifests: null }, IMAGE_MANIFEST],
    [{ manifests: [layer], layers: null, config: null }, IMAGE_INDEX],
  ] as const) {
    assert.is(readManifest(Buffer.from(JSON.stringify({ schemaVersion: 2, ...manifest })), type).mediaType, type);
  }
});

test('a byte order mark is no JSON', () => {
  assert.match(flawOf(Buffer.from('\ufeff{"schemaVersion":2}')), /^the manifest is not JSON in UTF-8: /);
});

test.run();
