/** Where a push may be written, and how long it waits for its copies: as one gateway decides it. */
import * as assert from 'uvu/assert';
import { claimAll } from '../support/claims.js';
import { openMetadata } from '../support/clients.js';
import { DatabaseProxy } from '../support/database-proxy.js';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { imageManifestType } from '../support/oci-client.js';
import { begin, closing, codeOf, digestOf, someBytes } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('gateway: where pushes go');
const database = new DatabaseProxy();
let stack: GatewayStack;

test.before(async () => {
  stack = await startGatewayStack({
    locations: ['usstorage', 'eustorage'],
    config: { ENTREPOT_WRITE_QUORUM: 2, ENTREPOT_WRITE_QUORUM_SECONDS: 3 },
    through: url => database.through(url),
  });
  const { namespaces } = openMetadata(stack.databaseUrl);
  await namespaces.setLocations('resident', { locations: ['eustorage'], replace: true });
});

const uploadsAt = (location: string) =>
  stack.sql('select 1 from blobupload b join imagestoragelocation l on l.id = b.location_id where l.name = $1', [
    location,
  ]);

test('the first upload of a namespace with a place of its own asks twice, the next ones once', async () => {
  const { client } = stack;
  assert.is(await database.tripsOf(() => begin(client, 'resident/app')), 2);
  assert.is(await database.tripsOf(() => begin(client, 'resident/app')), 1);
  assert.is((await uploadsAt('usstorage')).length, 0);
  assert.is((await uploadsAt('eustorage')).length, 2);
});

test('a whole blob in a POST goes where its namespace is kept, asked or remembered', async () => {
  for (const round of [1, 2]) {
    const body = someBytes(1_000);
    const path = `/v2/resident/whole/blobs/uploads/?digest=${digestOf(body)}`;
    assert.is((await stack.client.request('POST', path, { body })).status, 201);
    assert.equal(await holders(body), ['eustorage'], `round ${round}`);
  }
});

async function holders(bytes: Buffer): Promise<unknown[]> {
  const rows = await stack.sql(
    `select l.name from imagestorageplacement p join imagestorage s on s.id = p.storage_id
       join imagestoragelocation l on l.id = p.location_id where s.content_checksum = $1 order by 1`,
    [digestOf(bytes)],
  );
  return rows.map(row => row.name);
}

test('new locations of a namespace are in force for the next upload', async () => {
  const { namespaces } = openMetadata(stack.databaseUrl);
  await begin(stack.client, 'moving/app');
  await namespaces.setLocations('moving', { locations: ['eustorage'], replace: true });
  const bytes = someBytes(500);
  const location = await begin(stack.client, 'moving/app');
  assert.is((await stack.client.request('PUT', closing(location, digestOf(bytes)), { body: bytes })).status, 201);
  assert.equal(await holders(bytes), ['eustorage']);
});

test('without copies, a quorum of two is never there: 503, and nothing is tagged; with the copies it is 201', async () => {
  const { client } = stack;
  const bytes = someBytes(300);
  const digest = await client.pushBlob('quorum/app', bytes);
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: bytes.length };
  const body = JSON.stringify({ schemaVersion: 2, mediaType: imageManifestType, config, layers: [] });
  const put = () =>
    client.request('PUT', '/v2/quorum/app/manifests/v1', { body, headers: { 'content-type': imageManifestType } });
  const answer = await put();
  assert.is(answer.status, 503);
  assert.is(codeOf(answer), 'UNAVAILABLE');
  assert.match(answer.body.toString(), `${digest} is not in eustorage`);
  assert.is((await client.request('HEAD', '/v2/quorum/app/manifests/v1')).status, 404);

  // All but the last step beforehand: on a crowded machine, connecting alone may take longer than the push waits.
  const { replication } = openMetadata(stack.databaseUrl);
  const claimed = await claimAll(replication, 'eustorage');
  const waiting = put();
  await replication.complete(claimed);
  assert.is((await waiting).status, 201);
  assert.is((await client.request('HEAD', '/v2/quorum/app/manifests/v1')).status, 200);
});

test('one place is enough for a namespace that has only one', async () => {
  await stack.client.pushImage('resident/one', 'v1', [someBytes(200)]);
});

test.run();
