/**
 * The settings of a podman or a buildah of a test's own: another storage folder than the machine's, with the storage
 * driver that works on every file system and mounts nothing.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Writes the settings into `folder`; what must stand in the environment of the programs. */
export async function containersSettings(folder: string): Promise<Record<string, string>> {
  const storage = join(folder, 'storage.conf');
  const containers = join(folder, 'containers.conf');
  await writeFile(storage, `[storage]\ndriver = "vfs"\ngraphroot = "${folder}/graph"\nrunroot = "${folder}/run"\n`);
  // No `podman events` in the machine's journal, and no search for a cgroup manager.
  await writeFile(
    containers,
    `[engine]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\ntmp_dir = "${folder}/tmp"\n`,
  );
  const credentials = join(folder, 'auth.json');
  await writeFile(credentials, '{}');
  return { CONTAINERS_STORAGE_CONF: storage, CONTAINERS_CONF: containers, REGISTRY_AUTH_FILE: credentials };
}
