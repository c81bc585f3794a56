/** The files of an image made from what this machine has: programs with the libraries that they need, and nothing else. */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { attempt } from './command.js';

export interface ScratchOptions {
  /** Where in the image each file (also a folder) comes from, by its place there. */
  readonly files: Readonly<Record<string, string>>;
  /** Files besides whose libraries are needed. */
  readonly alsoLinked?: readonly string[];
  /** The dynamic linker's way to libraries that are not the system's. They are placed in /usr/lib/own. */
  readonly libraryPath?: string;
  /** Texts, by their place. */
  readonly texts?: Readonly<Record<string, string>>;
  /** What follows in the Containerfile. `empty` is an empty folder that it can place. */
  readonly lines: readonly string[];
}

/** Writes the files and the Containerfile into `folder`; to be built there. */
export async function writeScratchImage(folder: string, options: ScratchOptions): Promise<void> {
  const { files, alsoLinked = [], libraryPath, texts = {}, lines } = options;
  const place = async (from: string, to: string) => {
    const target = join(folder, 'root', to);
    await mkdir(dirname(target), { recursive: true });
    await cp(from, target, { dereference: true, recursive: true });
  };
  const env: Record<string, string> = libraryPath ? { LD_LIBRARY_PATH: libraryPath } : {};
  for (const [to, from] of Object.entries(files)) await place(from, to);
  for (const linked of [...Object.values(files), ...alsoLinked]) {
    const { stdout } = await attempt('ldd', [linked], { env });
    for (const [path] of stdout.matchAll(/\/\S+\.so\S*/g)) {
      const isOwn = libraryPath !== undefined && path.startsWith(libraryPath);
      await place(path, isOwn ? join('/usr/lib/own', basename(path)) : path);
    }
  }
  for (const [to, text] of Object.entries(texts)) {
    await mkdir(dirname(join(folder, 'root', to)), { recursive: true });
    await writeFile(join(folder, 'root', to), text, { mode: 0o755 });
  }
  await mkdir(join(folder, 'empty'));
  await writeFile(
    join(folder, 'Containerfile'),
    `FROM scratch\nCOPY root /\nENV PATH=/usr/bin:/bin\n${lines.join('\n')}\n`,
  );
}
