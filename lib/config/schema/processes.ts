/** The keys of storage-proxies, workers and the command, of what they make sure of each other with, and of all processes. */
import { z } from 'zod';
import { IDENTITY_NAME } from '../../tls/identity.js';
import { flag, listenAddress, names, nodeAddress, nodeAddresses, oneOf, text, wholeNumber } from '../values.js';
import { ALL, COMMAND, key, SERVERS, STORAGE_PROXY, WORKER } from './key.js';

export const STORAGE_PROXY_KEYS = {
  ENTREPOT_STORAGE_PROXY_LISTEN: key({
    value: listenAddress,
    absent: { host: '127.0.0.1', port: 7070 },
    readBy: [...STORAGE_PROXY, ...COMMAND],
    meaning: 'where gateways and workers of all regions reach it, and nobody else',
    plain: true,
  }),
};

export const WORKER_KEYS = {
  ENTREPOT_WORKER_LOCATIONS: key({
    value: names,
    absent: [],
    absentMeans: 'the first of the preference',
    readBy: WORKER,
    meaning: 'the locations that the worker copies blobs to',
  }),
  ENTREPOT_WORKER_CONCURRENCY: key({
    value: wholeNumber(1, 1000),
    absent: 8,
    readBy: WORKER,
    meaning: 'copies at a time from one location to another',
  }),
  ENTREPOT_WORKER_LISTEN: key({
    value: listenAddress,
    absent: { host: '127.0.0.1', port: 7090 },
    readBy: [...WORKER, ...COMMAND],
    meaning: 'health, the Admin service, and the crossings that gateways share',
    plain: true,
  }),
  ENTREPOT_WORKER_ADVERTISE: key({
    value: nodeAddress,
    absent: undefined,
    absentMeans: 'the listen address',
    readBy: WORKER,
    meaning: 'where gateways reach this worker',
    plain: true,
  }),
};

const NAME_FORM = 'a name has at most 63 letters, digits and . _ - between them';

const administratorNames = z
  .array(z.string().regex(IDENTITY_NAME, { error: NAME_FORM }), {
    error: 'must be a list of the names in the certificates of administrators, for example [alice]',
  })
  .describe('a list of names');

const tokenHashes = z
  .record(
    z.string().regex(IDENTITY_NAME, { error: NAME_FORM }),
    z.string().regex(/^[0-9a-f]{64}$/i, {
      error: 'must be the SHA-256 of the token, 64 hex digits: printf %s "$TOKEN" | sha256sum',
    }),
    { error: 'must be a mapping of names to the SHA-256 of their tokens' },
  )
  .describe('a mapping of names to SHA-256, in hex digits');

const pem = (file: string, meaning: string) =>
  key({
    value: text(`/conf/stack/grpc/${file}`).describe('a path'),
    absent: undefined,
    readBy: ALL,
    meaning,
    plain: true,
  });

export const GRPC_KEYS = {
  ENTREPOT_GRPC_TLS_CA: pem('ca', 'the authorities that the certificates of the others must come from'),
  ENTREPOT_GRPC_TLS_CERT: pem('cert', "this process's own certificate"),
  ENTREPOT_GRPC_TLS_KEY: pem('key', 'its key'),
  ENTREPOT_INSECURE_GRPC: key({
    value: flag,
    absent: false,
    readBy: ALL,
    meaning: 'allows gRPC in plain text with other machines',
  }),
  ENTREPOT_ADMINISTRATORS: key({
    value: administratorNames,
    absent: [],
    absentMeans: 'none',
    readBy: WORKER,
    meaning: 'the names in the certificates of those who may administer',
  }),
  ENTREPOT_ADMIN_TOKENS: key({
    value: tokenHashes,
    absent: {},
    absentMeans: 'none',
    readBy: WORKER,
    meaning: 'tokens of administrators who have no certificate',
  }),
};

export const COMMAND_KEYS = {
  ENTREPOT_ADMIN_SERVERS: key({
    value: nodeAddresses,
    absent: [],
    absentMeans: 'none',
    readBy: COMMAND,
    meaning: 'workers to ask, in turn, after the one of `ENTREPOT_WORKER_LISTEN`',
  }),
  ENTREPOT_ADMIN_TOKEN: key({
    value: text('2bb80d53…'),
    absent: undefined,
    readBy: COMMAND,
    meaning: "a token of those in the workers' `ENTREPOT_ADMIN_TOKENS`",
    plain: true,
  }),
};

export const COMMON_KEYS = {
  ENTREPOT_SHUTDOWN_DELAY_SECONDS: key({
    value: wholeNumber(0, 30),
    absent: 5,
    readBy: SERVERS,
    meaning: 'how long new requests are still taken after SIGTERM',
  }),
  ENTREPOT_LOG_LEVEL: key({
    value: oneOf(['debug', 'info', 'warn', 'error']),
    absent: 'info',
    readBy: ALL,
    meaning: 'the least that is logged',
    plain: true,
  }),
};

export const METRICS_KEYS = {
  ENTREPOT_METRICS_LISTEN: key({
    value: listenAddress,
    absent: undefined,
    readBy: SERVERS,
    meaning: 'where `/metrics` is served',
    plain: true,
  }),
};
