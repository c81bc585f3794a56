/**
 * The settings of a podman or a buildah of a test's own: another storage folder than the machine's, with the storage
 * driver that works on every file system and mounts nothing; where containers are run, with the one that does not copy an
 * image for each of them, and with networks of their own.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What containers are run with, where a test does that: an outer container may have no right to raise limits. */
const runningWith = (runtime: string, folder: string) => `[containers]
default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]
[network]
network_backend = "netavark"
network_config_dir = "${folder}/networks"
[engine]
runtime = "${runtime}"
`;

/** Writes the settings into `folder`; what must stand in the environment of the programs. With `runtime`, containers can be run. */
export async function containersSettings(folder: string, runtime?: 'runc'): Promise<Record<string, string>> {
  const storage = join(folder, 'storage.conf');
  const containers = join(folder, 'containers.conf');
  await writeFile(
    storage,
    `[storage]\ndriver = "${runtime ? 'overlay' : 'vfs'}"\ngraphroot = "${folder}/graph"\nrunroot = "${folder}/run"\n`,
  );
  // No `podman events` in the machine's journal, and no search for a cgroup manager.
  await writeFile(
    containers,
    `${runtime ? runningWith(runtime, folder) : '[engine]\n'}events_logger = "none"\ncgroup_manager = "cgroupfs"\ntmp_dir = "${folder}/tmp"\n`,
  );
  const credentials = join(folder, 'auth.json');
  await writeFile(credentials, '{}');
  return { CONTAINERS_STORAGE_CONF: storage, CONTAINERS_CONF: containers, REGISTRY_AUTH_FILE: credentials };
}
