/**
 * deploy/compose as it stands, by a real podman-compose: two regions, PostgreSQL, Redis, two S3 stores. An image that is
 * pushed to one region is pulled from the other.
 *
 * No image is pulled: ours is built here, and the others are stand-ins made of the same programs (test/support/stand-ins.ts).
 * That the public images behave alike is not tried.
 */
import { copyFile, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { attempt, run } from '../support/command.js';
import { buildImage, IMAGE_NEEDS, type Image } from '../support/image.js';
import { writeLayout } from '../support/images.js';
import { freePorts } from '../support/ports.js';
import { distFolder } from '../support/process.js';
import { skopeoPull, skopeoPush } from '../support/skopeo.js';
import { buildStandIns, STAND_IN_NEEDS } from '../support/stand-ins.js';
import { atEnd, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

const NEEDS = [...IMAGE_NEEDS, ...STAND_IN_NEEDS, 'netavark', 'aardvark-dns', 'podman-compose', 'skopeo'];
const test = suite('compose', { needs: NEEDS, timeoutMs: 400_000, fileTimeoutMs: 900_000 });

/** The folder's name is the project's; volumes and networks are named by it. */
const PROJECT = 'entrepot-test';

let image: Image;
let us: string;
let eu: string;
let compose: (...words: string[]) => Promise<string>;

test.before(async () => {
  image = await buildImage();
  const names = await buildStandIns(image.folder, image.build);
  const [usPort, euPort] = (await freePorts(2)) as [number, number];
  [us, eu] = [`localhost:${usPort}`, `localhost:${euPort}`];
  const env = { ...image.env, ...names, US_PORT: String(usPort), EU_PORT: String(euPort) };
  const cwd = join(await temporaryFolder('compose'), PROJECT);
  await mkdir(cwd);
  for (const file of ['compose.yaml', 'config.yaml'])
    await copyFile(join(resolve(distFolder, '..'), 'deploy', 'compose', file), join(cwd, file));
  compose = (...words) => run('podman-compose', words, { env, cwd, timeoutMs: 300_000 });
  atEnd(() => attempt('podman-compose', ['down', '--timeout', '0', '--volumes'], { env, cwd }));
});

/** What every container has written, for the message of a failure. */
async function logs(): Promise<string> {
  const { stdout } = await image.podman('ps', '--all', '--format', '{{.Names}} {{.Status}}');
  const texts = stdout
    .trimEnd()
    .split('\n')
    .map(async line => {
      const log = await image.podman('logs', '--tail', '15', line.split(' ')[0] ?? '');
      return `--- ${line}\n${log.stdout}${log.stderr}`;
    });
  return (await Promise.all(texts)).join('\n');
}

async function isWell(host: string): Promise<boolean> {
  const answer = await fetch(`http://${host}/health/warning`).catch(() => undefined);
  await answer?.arrayBuffer();
  return answer?.status === 200;
}

test('up: both regions serve, with both of their stores and Redis', async () => {
  await compose('up', '--detach');
  const deadline = Date.now() + 120_000;
  while (!((await isWell(us)) && (await isWell(eu)))) {
    if (Date.now() > deadline) assert.unreachable(await logs());
    await sleep(500);
  }
});

test('an image that is pushed to one region is pulled from the other', async () => {
  const layout = await temporaryFolder('layout');
  const pushed = await writeLayout(layout, { layers: [20_000_000, 5_000], seed: 'by compose' });
  await skopeoPush(layout, `${us}/demo/app:1`);
  const pulled = await skopeoPull(`${eu}/demo/app:1`);
  assert.is(pulled.digest, pushed.digest);
});

test('the keys of a bucket are known to the storage-proxy of its region alone', async () => {
  const names = (await image.podman('ps', '--format', '{{.Names}}')).stdout.trimEnd().split('\n');
  const knowing = new Map<string, string[]>();
  for (const name of names) {
    const { stdout } = await image.podman('inspect', '--format', '{{.Config.Env}}', name);
    for (const [key] of stdout.matchAll(/(us|eu)storage-secret/g))
      knowing.set(key, [...(knowing.get(key) ?? []), name.replace(/^.*?_|_1$/g, '')]);
  }
  for (const region of ['us', 'eu'])
    assert.equal(knowing.get(`${region}storage-secret`)?.sort(), [`s3-${region}`, `storage-proxy-${region}`]);
});

test('down: everything ends', async () => {
  await compose('down');
  assert.is((await image.podman('ps', '--all', '--quiet')).stdout, '');
});

test.run();
