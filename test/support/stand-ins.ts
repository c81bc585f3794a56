/**
 * Images for deploy/compose where none can be pulled: the real PostgreSQL, Redis and S3 server of this machine, each behind
 * the interface of the public image that Compose names: its variables, its volume, its command.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findBinaries, linkLibraries } from '../../deploy/local/postgres/binaries.js';
import type { Build } from './image.js';
import { findCommand } from './needs.js';
import { type ScratchOptions, writeScratchImage } from './scratch-image.js';

export const STAND_IN_NEEDS = ['redis-server', 'versitygw'];

/** As the public image does: on an empty volume it makes the user and the database that the variables name. */
const POSTGRES_START = `#!/bin/sh
set -e
data=/var/lib/postgresql/data
if ! [ -s $data/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  initdb -D $data -U "$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --no-locale -E UTF8
  echo 'host all all all scram-sha-256' >>$data/pg_hba.conf
  echo "create database \\"$POSTGRES_DB\\"" | postgres --single -D $data postgres
fi
exec postgres -D $data -c listen_addresses='*'
`;

/** Builds them. Resolves to the variables of compose.yaml that name them. */
export async function buildStandIns(folder: string, build: Build): Promise<Record<string, string>> {
  const program = (name: string) => findCommand(name) ?? '';
  const native = findBinaries();
  const libraries = join(folder, 'postgres-libraries');
  linkLibraries(native, libraries);
  const postgres = (name: string) => [`/usr/bin/${name}`, join(native, 'bin', name)] as const;
  const images: Record<string, ScratchOptions> = {
    POSTGRES_IMAGE: {
      files: {
        ...Object.fromEntries([postgres('initdb'), postgres('postgres')]),
        '/usr/lib': join(native, 'lib'),
        '/usr/share': join(native, 'share'),
        '/bin/sh': '/bin/sh',
      },
      libraryPath: libraries,
      texts: {
        '/usr/bin/start': POSTGRES_START,
        '/etc/passwd': 'postgres:x:999:999::/tmp:/bin/sh\n',
      },
      lines: [
        'COPY --chown=999:999 empty /var/lib/postgresql/data',
        'COPY --chown=999:999 empty /tmp',
        'ENV LD_LIBRARY_PATH=/usr/lib/own',
        'USER 999:999',
        'STOPSIGNAL SIGINT',
        'ENTRYPOINT ["/usr/bin/start"]',
      ],
    },
    REDIS_IMAGE: {
      files: { '/usr/bin/redis-server': program('redis-server') },
      lines: ['ENTRYPOINT ["redis-server", "--protected-mode", "no", "--save", ""]'],
    },
    S3_IMAGE: { files: { '/app/versitygw': program('versitygw') }, lines: ['ENTRYPOINT ["/app/versitygw"]'] },
  };
  const names: Record<string, string> = {};
  for (const [variable, options] of Object.entries(images)) {
    const context = join(folder, variable.toLowerCase());
    await mkdir(context);
    await writeScratchImage(context, options);
    names[variable] = `localhost/${variable.toLowerCase()}`;
    await build('--tag', names[variable], '--file', join(context, 'Containerfile'), context);
  }
  return names;
}
