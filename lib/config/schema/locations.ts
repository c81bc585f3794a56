/** The keys that say which locations there are, and where blobs must be. */
import { z } from 'zod';
import { flag, names, nodeAddress, wholeNumber } from '../values.js';
import { COMMAND, GATEWAY, key, SERVERS, WORKER } from './key.js';

const nodes = z
  .record(
    z.string(),
    z.strictObject(
      { nodes: z.array(nodeAddress, { error: 'must be a list of host:port' }) },
      {
        error: issue =>
          issue.code === 'unrecognized_keys'
            ? `has an unknown field ${issue.keys.join(', ')}; only nodes is known`
            : 'must be {nodes: [host:port, …]}',
      },
    ),
    { error: 'must be a mapping of locations, for example {usstorage: {nodes: [10.0.0.5:7070]}}' },
  )
  .describe('a mapping of locations to `{nodes: […]}`, each `host:port`');

export const LOCATION_KEYS = {
  DISTRIBUTED_STORAGE_CONFIG: key({
    // Read by hand (storage.ts): what of it may be kept depends on whose it is.
    value: z.unknown().describe('a mapping of locations to `[driver, {arguments}]`'),
    absent: undefined,
    absentMeans: 'required',
    readBy: SERVERS,
    meaning: "the locations, and (for its own storage-proxy only) a location's [engine](engines.md)",
  }),
  ENTREPOT_LOCATIONS: key({
    value: nodes,
    absent: {},
    absentMeans: 'required for gateways and workers',
    readBy: [...GATEWAY, ...WORKER, ...COMMAND],
    meaning: "the addresses of each location's storage-proxies",
  }),
  DISTRIBUTED_STORAGE_PREFERENCE: key({
    value: names,
    absent: [],
    absentMeans: 'the order of `DISTRIBUTED_STORAGE_CONFIG`',
    readBy: SERVERS,
    meaning: "the order in which a process prefers the locations; a storage-proxy's own is the first",
  }),
  DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: key({
    value: names,
    absent: [],
    absentMeans: 'all locations',
    readBy: [...GATEWAY, ...WORKER],
    meaning: 'the locations in which every blob must be',
  }),
  FEATURE_STORAGE_REPLICATION: key({
    value: flag,
    absent: false,
    readBy: [...GATEWAY, ...WORKER],
    meaning: 'whether blobs are copied to the locations in which they must be',
  }),
  ENTREPOT_WRITE_QUORUM: key({
    value: wholeNumber(1, 1000),
    absent: 1,
    readBy: GATEWAY,
    meaning: 'in how many required locations all of an image must be before its push is acknowledged',
  }),
  ENTREPOT_WRITE_QUORUM_SECONDS: key({
    value: wholeNumber(1, 3_600),
    absent: 60,
    readBy: GATEWAY,
    meaning: 'seconds that a push waits for its quorum',
  }),
};
