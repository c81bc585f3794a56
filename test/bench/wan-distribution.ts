/** For the bench over a long wire: two registries of the usual kind, and skopeo near the destination. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { hexOf } from '../../lib/oci/digest.js';
import { linkTo, type MadeBlob, makeBlob } from '../support/made-blobs.js';
import { memoryGroup } from '../support/memory-group.js';
import { findCommand } from '../support/needs.js';
import { atEnd } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';
import { until } from '../support/wait.js';
import type { Region, Wan } from '../wan/wan.js';

export interface Distribution {
  /** Copies the blobs, as images of at most so many layers; resolves to the seconds that it took. */
  copy(blobs: readonly MadeBlob[], layers: number): Promise<number>;
}

const PORT = 5000;
const TYPE = 'application/vnd.oci.image';

/** Undefined if what it needs is not installed. Each registry may use `memory` bytes, if given. */
export async function startDistribution(wan: Wan, memory?: number): Promise<Distribution | undefined> {
  if (!findCommand('docker-registry') || !findCommand('skopeo')) return undefined;
  const folder = await temporaryFolder('bench-wan-distribution');
  const [source, target] = [join(folder, 'us'), join(folder, 'eu')];
  await startRegistry(wan.us, source, memory);
  await startRegistry(wan.eu, target, memory);
  let round = 0;
  return {
    async copy(blobs, layers) {
      const repository = `bench/r${++round}`;
      for (let at = 0, tag = 1; at < blobs.length; at += layers, tag++)
        await putImage(source, repository, `v${tag}`, blobs.slice(at, at + layers));
      const [from, to] = [wan.us, wan.eu].map(({ address }) => `${address}:${PORT}`);
      const began = performance.now();
      const options = ['--src', 'docker', '--dest', 'docker', '--src-tls-verify=false', '--dest-tls-verify=false'];
      await wan.eu.run(
        'skopeo',
        ['sync', ...options, '--preserve-digests', `${from}/${repository}`, `${to}/bench`],
        900_000,
      );
      const seconds = (performance.now() - began) / 1000;
      await rm(join(target, 'docker/registry/v2/blobs'), { recursive: true });
      return seconds;
    },
  };
}

async function startRegistry(region: Region, data: string, memory?: number): Promise<void> {
  await mkdir(data, { recursive: true });
  await writeFile(
    `${data}.yaml`,
    stringify({
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: data } },
      http: { addr: `${region.address}:${PORT}`, relativeurls: true },
    }),
  );
  const within = memory ? await memoryGroup(memory) : [];
  const [program = '', ...parameters] = [...within, ...region.through, 'docker-registry', 'serve', `${data}.yaml`];
  const child = spawn(program, parameters, { stdio: 'ignore' });
  const exited = once(child, 'exit');
  atEnd(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const answers = async () => (await region.run('ss', ['-Hltn', `sport = :${PORT}`])).trim() !== '';
  if (!(await until(answers, 10_000))) throw new Error('docker-registry does not listen');
}

/** Puts an image into a registry's storage, as a push would have left it there. */
async function putImage(data: string, repository: string, tag: string, layers: readonly MadeBlob[]): Promise<void> {
  const files = `${data}-files`;
  await mkdir(files, { recursive: true });
  const root = join(data, 'docker/registry/v2');
  const config = await makeBlob(
    files,
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const describe = (kind: string, { digest, size }: MadeBlob) => ({ mediaType: `${TYPE}.${kind}`, digest, size });
  const manifest = await makeBlob(
    files,
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${TYPE}.manifest.v1+json`,
      config: describe('config.v1+json', config),
      layers: layers.map(layer => describe('layer.v1.tar+gzip', layer)),
    }),
  );
  const store = join(root, 'repositories', repository);
  for (const blob of [...layers, config, manifest]) {
    const hex = hexOf(blob.digest);
    await linkTo(blob, join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data'));
    await writeLink(join(store, '_layers/sha256', hex), blob);
  }
  const hex = hexOf(manifest.digest);
  await writeLink(join(store, '_manifests/revisions/sha256', hex), manifest);
  await writeLink(join(store, '_manifests/tags', tag, 'current'), manifest);
  await writeLink(join(store, '_manifests/tags', tag, 'index/sha256', hex), manifest);
}

async function writeLink(folder: string, { digest }: MadeBlob): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'link'), digest);
}
