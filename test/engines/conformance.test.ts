/** The OCI conformance suite over a store of parts: small chunks, small blobs, and all that is deleted and pushed again. */
import { OCI_SUITE } from '../conformance/oci-suite.js';
import { conforms } from '../conformance/verdict.js';
import { makeBucket, radosArguments } from '../stores/store.js';
import { startVersity, VERSITY_NEEDS } from '../stores/versity.js';
import { Regions } from '../support/regions.js';
import { atEnd, suite } from '../support/suite.js';

const test = suite('OCI conformance over S3', { needs: [OCI_SUITE, ...VERSITY_NEEDS], timeoutMs: 90_000 });
let regions: Regions;

test.before(async () => {
  const bucket = await makeBucket(await startVersity());
  atEnd(() => bucket.client.destroy());
  regions = await Regions.start(
    [{ name: 'us', storage: ['RadosGWStorage', radosArguments(bucket)], runs: ['gateway'] }],
    {
      ENTREPOT_SPARSE_IMAGES: true,
    },
  );
});

test('dev', async () => {
  const registry = new URL(regions.gateway('us')).host;
  await conforms('dev, over S3', { registry, version: 'dev', namespace: 'conformance/s3' });
});

test.run();
