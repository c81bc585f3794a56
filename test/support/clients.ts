/** The rooms of lib/, put together for a test that needs no process of its own for them. */
import pino from 'pino';
import { Locations } from '../../lib/locations/locations.js';
import { Blobs } from '../../lib/metadata/blobs.js';
import { Database } from '../../lib/metadata/database.js';
import { Events } from '../../lib/metadata/events.js';
import { Manifests } from '../../lib/metadata/manifests.js';
import { migrate } from '../../lib/metadata/migrate.js';
import { Namespaces } from '../../lib/metadata/namespaces.js';
import { Places } from '../../lib/metadata/places.js';
import { Replication } from '../../lib/metadata/replication.js';
import { Requeue } from '../../lib/metadata/requeue.js';
import type { MetadataSettings } from '../../lib/metadata/settings.js';
import { Tags } from '../../lib/metadata/tags.js';
import { Uploads } from '../../lib/metadata/uploads.js';
import { freshDatabase } from './postgres.js';
import type { Stack } from './stack.js';
import { atEnd } from './suite.js';

export const quiet = pino({ level: 'silent' });

/** The rooms of lib/metadata over one database. */
export interface Metadata {
  readonly url: string;
  readonly db: Database;
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly manifests: Manifests;
  readonly tags: Tags;
  readonly places: Places;
  readonly replication: Replication;
  readonly namespaces: Namespaces;
  readonly requeue: Requeue;
  readonly events: Events;
}

export const twoRegions: MetadataSettings = { libraryNamespace: 'library', replicate: true, writeQuorum: 1 };

/** Opens a migrated database; closed at the end of the suite. */
export function openMetadata(url: string, settings: MetadataSettings = twoRegions): Metadata {
  const db = new Database({ url, listenUrl: url, poolSize: 8 }, quiet);
  atEnd(() => db.close());
  return {
    url,
    db,
    blobs: new Blobs(db, settings),
    uploads: new Uploads(db, settings),
    manifests: new Manifests(db, settings),
    tags: new Tags(db, settings),
    places: new Places(db),
    replication: new Replication(db),
    namespaces: new Namespaces(db, settings),
    requeue: new Requeue(db),
    events: new Events(db),
  };
}

/** A new database with the schema and two locations. */
export async function freshMetadata(settings?: MetadataSettings): Promise<Metadata> {
  const { url } = await freshDatabase();
  await migrate(url, quiet);
  const metadata = openMetadata(url, settings);
  await metadata.places.register(['usstorage', 'eustorage']);
  await metadata.places.setDefaults(['usstorage', 'eustorage'], true);
  return metadata;
}

/** The locations of a stack, as a gateway in us would see them. */
export function openLocations(stack: Stack, preference = ['usstorage', 'eustorage']): Locations {
  const locations = new Locations({
    locations: [
      { name: 'usstorage', nodes: [`127.0.0.1:${stack.ports['storage-proxy-us']}`] },
      { name: 'eustorage', nodes: [`127.0.0.1:${stack.ports['storage-proxy-eu']}`] },
    ],
    preference,
    identify: async () => true,
    log: quiet,
  });
  atEnd(() => locations.close());
  return locations;
}
