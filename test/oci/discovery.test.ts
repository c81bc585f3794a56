/** Finding what is there: referrers, tags and the catalog (distribution specification, "Content Discovery"), and deleting it. */
import * as assert from 'uvu/assert';
import { type Gateway, type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { imageManifestType } from '../support/oci-client.js';
import { codeOf, digestOf, someBytes } from '../support/pushes.js';
import { suite } from '../support/suite.js';

const test = suite('OCI: content discovery and management');
const indexType = 'application/vnd.oci.image.index.v1+json';
const sbom = 'application/vnd.example.sbom+json';
const signature = 'application/vnd.example.signature';
const configType = 'application/vnd.example.config';
let stack: GatewayStack;
let other: Gateway;

test.before(async () => {
  stack = await startGatewayStack();
  other = await stack.startGateway();
});

// It has no client left: without this it would drain for some seconds.
test.after(() => other.process.kill('SIGKILL'));

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A page of referrers, checked for what every page must be. */
async function page(path: string, client = stack.client) {
  const answer = await client.request('GET', path);
  assert.is(answer.status, 200, `${path}: ${answer.body}`);
  assert.is(answer.headers['content-type'], indexType);
  const { schemaVersion, mediaType, manifests } = JSON.parse(answer.body.toString());
  assert.equal([schemaVersion, mediaType], [2, indexType]);
  return {
    manifests: manifests as Descriptor[],
    next: nextOf(answer.headers.link),
    filtered: answer.headers['oci-filters-applied'],
  };
}

function nextOf(link: string | string[] | undefined): string | undefined {
  return /^<(.*)>; rel="next"$/.exec(String(link ?? ''))?.[1];
}

async function digestsOf(path: string, client = stack.client): Promise<string[]> {
  return (await page(path, client)).manifests.map(each => each.digest);
}

/** All pages from a path on. */
async function pages(path: string): Promise<Descriptor[][]> {
  const all: Descriptor[][] = [];
  for (let at: string | undefined = path; at !== undefined; ) {
    const { manifests, next }: Awaited<ReturnType<typeof page>> = await page(at);
    all.push(manifests);
    at = next;
  }
  return all;
}

/** Pushes a manifest by its digest. */
async function push(repository: string, manifest: Record<string, unknown>, algorithm = 'sha256'): Promise<Descriptor> {
  const mediaType = manifest.manifests ? indexType : imageManifestType;
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...manifest }));
  const digest = digestOf(bytes, algorithm);
  await stack.client.pushManifest(repository, digest, bytes, mediaType);
  return { mediaType, digest, size: bytes.length };
}

function subjectOf(digest: string): Descriptor {
  return { mediaType: imageManifestType, digest, size: 10 };
}

const byDigest = (a: Descriptor, b: Descriptor) => (a.digest < b.digest ? -1 : 1);

test('Listing Referrers: never 404; a malformed digest is 400', async () => {
  const digest = digestOf(someBytes(3));
  for (const repository of ['no/such/repository', 'x', 'empty/one']) {
    assert.equal(await page(`/v2/${repository}/referrers/${digest}`), {
      ...{ manifests: [], next: undefined, filtered: undefined },
    });
    const filtered = await page(`/v2/${repository}/referrers/${digest}?artifactType=${sbom}`);
    assert.equal(filtered, { manifests: [], next: undefined, filtered: 'artifactType' });
    await stack.client.request('POST', '/v2/empty/one/blobs/uploads/');
  }
  const head = await stack.client.request('HEAD', `/v2/x/referrers/${digest}`);
  assert.equal([head.status, head.headers['content-type'], head.body.length], [200, indexType, 0]);
  const malformed = await stack.client.request('GET', '/v2/x/referrers/sha256:bad');
  assert.is(malformed.status, 400);
  assert.is(codeOf(malformed), 'DIGEST_INVALID');
  for (const query of ['?artifactType=%00', '?artifactType=x', '?last=v1', '?n=-1']) {
    assert.is((await stack.client.request('GET', `/v2/x/referrers/${digest}${query}`)).status, 400, query);
  }
  assert.equal(await stack.sql(`select name from repository where name = 'x' or name like 'such%'`), []);
});

for (const algorithm of ['sha256', 'sha512']) {
  test(`Listing Referrers: type, annotations and filter; the subject need not exist (${algorithm})`, async () => {
    const repository = `attach/${algorithm}`;
    const subject = subjectOf(digestOf(someBytes(8), algorithm));
    const config = await stack.client.pushBlob(repository, Buffer.from('{}'));
    const image = { config: { mediaType: configType, digest: config, size: 2 }, layers: [], subject };
    const annotations = { 'org.example.ä': '"1"', empty: '' };
    const expected: Descriptor[] = [
      {
        ...(await push(repository, { ...image, artifactType: sbom, annotations }, algorithm)),
        artifactType: sbom,
        annotations,
      },
      // Without a type of its own, an image has its config's, and an index has none.
      { ...(await push(repository, image)), artifactType: configType },
      {
        ...(await push(repository, { ...image, artifactType: '', annotations: { a: '' } })),
        artifactType: configType,
        annotations: { a: '' },
      },
      await push(repository, { manifests: [], subject }),
      { ...(await push(repository, { manifests: [], subject, artifactType: signature })), artifactType: signature },
    ];
    const path = `/v2/${repository}/referrers/${subject.digest}`;
    const all = await page(path);
    assert.equal(all.manifests, expected.toSorted(byDigest));
    assert.is(all.filtered, undefined);
    assert.equal((await page(path.replace('sha256:', 'sha256%3A'), other.client)).manifests, all.manifests);

    // The plus sign of the type as it should be sent, and as people type it.
    for (const [query, type] of [
      [encodeURIComponent(sbom), sbom],
      [sbom, sbom],
      [configType, configType],
    ]) {
      const filtered = await page(`${path}?artifactType=${query}`);
      assert.equal(filtered.manifests, expected.filter(each => each.artifactType === type).toSorted(byDigest));
      assert.ok(filtered.manifests.length > 0);
      assert.is(filtered.filtered, 'artifactType');
    }
    assert.equal(await digestsOf(`${path}?artifactType=application/vnd.example.other`), []);
    assert.equal(await digestsOf(`/v2/attach/elsewhere/referrers/${subject.digest}`), [], 'of this repository only');
  });
}

test('Listing Referrers: page by page, also with a filter, and no page of more than some megabytes', async () => {
  const subject = subjectOf(digestOf(someBytes(8)));
  const pushed: Descriptor[] = [];
  for (let i = 0; i < 7; i++) {
    pushed.push(
      await push('paged', {
        manifests: [],
        subject,
        artifactType: i % 2 ? sbom : signature,
        annotations: { i: `${i}` },
      }),
    );
  }
  const path = `/v2/paged/referrers/${subject.digest}`;
  const two = await pages(`${path}?n=2`);
  assert.equal(
    two.map(each => each.length),
    [2, 2, 2, 1],
  );
  assert.equal(
    two.flat().map(each => each.digest),
    pushed.map(each => each.digest).sort(),
  );
  const typed = await pages(`${path}?n=2&artifactType=${encodeURIComponent(signature)}`);
  assert.equal(
    typed.map(each => each.length),
    [2, 2],
  );
  assert.ok(typed.flat().every(each => each.artifactType === signature));
  assert.equal(await pages(`${path}?n=0`), [[]]);
  assert.equal((await pages(path)).length, 1);

  const large = subjectOf(digestOf(someBytes(8)));
  for (let i = 0; i < 3; i++)
    await push('paged', { manifests: [], subject: large, annotations: { i: `${i}`.repeat(2_500_000) } });
  const bySize = await pages(`/v2/paged/referrers/${large.digest}`);
  assert.equal(
    bySize.map(each => each.length),
    [1, 1, 1],
  );
});

test('Referrers Tag Schema: what clients listed under the tag is listed too, each once', async () => {
  for (const algorithm of ['sha256', 'sha512']) {
    const repository = `fallback/${algorithm}`;
    const subject = subjectOf(digestOf(someBytes(8), algorithm));
    const elsewhere = subjectOf(digestOf(someBytes(8)));
    const named = await push(repository, { manifests: [], subject, artifactType: sbom });
    const plain = await push(repository, { manifests: [], artifactType: signature, annotations: { a: 'b' } });
    const ofAnother = await push(repository, { manifests: [], subject: elsewhere });
    const absent = { mediaType: indexType, digest: digestOf(someBytes(8)), size: 8 };
    const tag = subject.digest.replace(':', '-').slice(0, algorithm.length + 1 + 64);
    const list = { schemaVersion: 2, mediaType: indexType, manifests: [named, plain, ofAnother, absent] };
    await stack.client.pushManifest(repository, tag, list);

    const path = `/v2/${repository}/referrers/${subject.digest}`;
    const expected = [
      { ...named, artifactType: sbom },
      { ...plain, artifactType: signature, annotations: { a: 'b' } },
    ].toSorted(byDigest);
    assert.equal((await page(path)).manifests, expected);
    assert.equal((await pages(`${path}?n=1`)).flat(), expected);
    assert.equal(await digestsOf(`${path}?artifactType=${signature}`), [plain.digest]);

    await stack.client.request('DELETE', `/v2/${repository}/manifests/${tag}`);
    assert.equal(await digestsOf(path), [named.digest], 'without the tag');
  }
});

test('Deleting Manifests: what refers to a deleted manifest stays; a deleted referrer is gone at once, everywhere', async () => {
  const image = await stack.client.pushImage('deletes', 'v1', [someBytes(10)]);
  const one = await push('deletes', { manifests: [], subject: subjectOf(image.digest) });
  const two = await push('deletes', { manifests: [], subject: subjectOf(image.digest), annotations: { two: '' } });
  const path = `/v2/deletes/referrers/${image.digest}`;
  for (const { client } of [stack, other]) assert.is((await digestsOf(path, client)).length, 2);
  const remove = (digest: string) => stack.client.request('DELETE', `/v2/deletes/manifests/${digest}`);
  assert.is((await remove(image.digest)).status, 202);
  assert.is((await stack.client.request('HEAD', `/v2/deletes/manifests/${one.digest}`)).status, 200);
  for (const { client } of [stack, other]) assert.is((await digestsOf(path, client)).length, 2);
  assert.is((await remove(one.digest)).status, 202);
  for (const { client } of [other, stack]) assert.equal(await digestsOf(path, client), [two.digest]);
  await push('deletes', { manifests: [], subject: subjectOf(image.digest) });
  assert.is((await digestsOf(path, other.client)).length, 2);
});

test('Deleting Manifests: one that an index lists can be deleted, with a warning', async () => {
  const image = await stack.client.pushImage('children', 'v1', [someBytes(10)]);
  const index = await push('children', { manifests: [subjectOf(image.digest)] });
  const answer = await stack.client.request('DELETE', `/v2/children/manifests/${image.digest}`);
  assert.is(answer.status, 202);
  assert.is(answer.headers.warning, `299 - "an index still lists the deleted manifest: ${index.digest}"`);
  assert.is((await stack.client.request('HEAD', '/v2/children/manifests/v1')).status, 404);
  const last = await stack.client.request('DELETE', `/v2/children/manifests/${index.digest}`);
  assert.equal([last.status, last.headers.warning], [202, undefined]);
});

test('Deleting: the same content, deleted and pushed again at once, at two gateways in turn', async () => {
  const bytes = Buffer.from('{}');
  const digest = digestOf(bytes);
  const body = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: imageManifestType, layers: [] },
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest, size: 2 },
    }),
  );
  for (let round = 0; round < 10; round++) {
    const [here, there] = round % 2 ? [stack.client, other.client] : [other.client, stack.client];
    await here.pushBlob('again', bytes);
    await there.pushManifest('again', 'v1', body);
    for (const path of ['manifests/v1', `manifests/${digestOf(body)}`, `blobs/${digest}`]) {
      assert.is((await here.request('GET', `/v2/again/${path}`)).status, 200, `${round} ${path}`);
    }
    for (const path of [`manifests/${digestOf(body)}`, `blobs/${digest}`]) {
      assert.is((await here.request('DELETE', `/v2/again/${path}`)).status, 202, `${round} ${path}`);
      for (const client of [there, here]) {
        assert.is((await client.request('HEAD', `/v2/again/${path}`)).status, 404, `${round} ${path}`);
      }
    }
    assert.is((await there.request('HEAD', '/v2/again/manifests/v1')).status, 404);
  }
});

test('Listing Tags: a repository without tags has an empty list; HEAD as GET', async () => {
  const empty = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [] }));
  await stack.client.pushManifest('untagged', 'v1', empty, indexType);
  const list = (client = stack.client, method = 'GET') => client.request(method, '/v2/untagged/tags/list');
  assert.is((await list(other.client)).body.toString(), '{"name":"untagged","tags":["v1"]}');
  assert.is((await stack.client.request('DELETE', '/v2/untagged/manifests/v1')).status, 202);
  for (const { client } of [other, stack]) {
    assert.is((await list(client)).body.toString(), '{"name":"untagged","tags":[]}');
  }
  const head = await list(stack.client, 'HEAD');
  assert.equal([head.status, head.headers['content-type'], head.body.length], [200, 'application/json', 0]);
});

test('the catalog: names with their namespaces, in ASCII order, page by page', async () => {
  const empty = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [] }));
  const names = ['cat/a', 'cat-b/a', 'cat/a-b', 'cat/a/b', 'cat.d/e', 'catalog', 'cat0/x'];
  for (const name of names) await stack.client.pushManifest(name, 'v1', empty, indexType);
  await stack.client.request('POST', '/v2/cat/only/begun/blobs/uploads/');
  const catalog = async (query: string) => {
    const answer = await stack.client.request('GET', `/v2/_catalog${query}`);
    assert.equal([answer.status, answer.headers['content-type']], [200, 'application/json'], query);
    return { names: JSON.parse(answer.body.toString()).repositories as string[], next: nextOf(answer.headers.link) };
  };
  const all = await catalog('');
  assert.is(all.next, undefined);
  assert.equal(all.names, all.names.toSorted());
  const expected = names.map(name => (name === 'catalog' ? 'library/catalog' : name));
  assert.equal(
    all.names.filter(name => expected.includes(name)),
    expected.toSorted(),
  );
  assert.not(all.names.includes('cat/only/begun'));

  const seen: string[] = [];
  for (let at: string | undefined = '?n=2'; at !== undefined; ) {
    const { names: some, next }: Awaited<ReturnType<typeof catalog>> = await catalog(at);
    assert.ok(some.length === 2 || next === undefined);
    seen.push(...some);
    at = next?.replace('/v2/_catalog', '');
  }
  assert.equal(seen, all.names);
  for (const last of ['cat', 'cat/a', 'cat/a/b/c', 'zzz', '0']) {
    assert.equal(
      (await catalog(`?last=${last}`)).names,
      all.names.filter(name => name > last),
      last,
    );
  }
  assert.equal(await catalog('?n=0'), { names: [], next: undefined });
  assert.equal(await catalog(`?n=${all.names.length}`), all);
  for (const query of ['?n=x', '?n=-1', '?last=UPPER', '?last=%00']) {
    assert.is((await stack.client.request('GET', `/v2/_catalog${query}`)).status, 400, query);
  }
});

test.run();
