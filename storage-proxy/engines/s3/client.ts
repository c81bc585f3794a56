/** The SDK's client, set up for a server that streams large objects: each limit with its reason. */
import { createHash } from 'node:crypto';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { fromTemporaryCredentials, fromTokenFile } from '@aws-sdk/credential-providers';
import type { Credentials, S3Settings } from '../../../lib/config/engines/s3.js';
import { NoCredentials } from './errors.js';
import { traceCommands } from './traced-commands.js';

/**
 * To connect takes one round trip, with TLS three; a store in the same region is milliseconds away. Who does not
 * answer by then is down or overloaded, and the next attempt goes elsewhere if there is more than one address.
 */
const CONNECT_MS = 3_000;

/**
 * The SDK's default is 50, beyond which requests wait without limit or word. So many as the node's own gates let
 * through: 256 reads, 64 appends with 2 parts, 16 batches of 16, 64 commits of 4 copies, and some for the canary. It
 * is only a bound: connections are opened when they are needed.
 */
const MAX_SOCKETS = 1_024;

/**
 * A first try and two more. The SDK waits between them, at random up to 100 ms × 2^n (500 ms when told to slow down)
 * so that nodes do not come back in step, and stops retrying when most of its requests fail. More tries would only
 * keep a caller waiting who has other locations to go to.
 */
const ATTEMPTS = 3;

/** Else it warns on every start that some later version, which is not the one that we use, will want a newer Node.js. */
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

export function makeClient(settings: S3Settings): S3Client {
  const agent = { keepAlive: true, maxSockets: MAX_SOCKETS };
  const client = new S3Client({
    region: settings.region,
    ...(settings.endpoint === undefined
      ? { followRegionRedirects: true }
      : { endpoint: settings.endpoint, forcePathStyle: true }),
    credentials: credentialsOf(settings.credentials, settings.region),
    // Otherwise the SDK adds checksums in trailers, which most stores but AWS's refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    maxAttempts: ATTEMPTS,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      // Time limits are given with each request (requests.ts). None on idle sockets: one is idle, too, while our client is slow.
      socketTimeout: 0,
      throwOnRequestTimeout: true,
      socketAcquisitionWarningTimeout: 3_600_000,
      httpAgent: agent,
      httpsAgent: agent,
    },
    // The SDK must not write to the log by itself.
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  });
  addContentMd5(client);
  traceCommands(client);
  return client;
}

function credentialsOf(credentials: Credentials, region: string): S3ClientConfig['credentials'] {
  if (credentials.kind === 'environment') return undefined;
  if (credentials.kind === 'keys')
    return {
      accessKeyId: credentials.accessKey,
      secretAccessKey: credentials.secretKey,
      ...(credentials.token ? { sessionToken: credentials.token } : {}),
    };
  const { arn, keys } = credentials;
  const clientConfig = { region };
  if (!keys || !arn)
    return named(fromTokenFile({ ...(arn ? { roleArn: arn } : {}), roleSessionName: 'entrepot', clientConfig }));
  return named(
    fromTemporaryCredentials({
      masterCredentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey },
      params: { RoleArn: arn, RoleSessionName: 'entrepot' },
      clientConfig,
    }),
  );
}

/** The same provider, whose failures can be told from the store's. */
function named<A extends unknown[], T>(provider: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
  return async (...args) => {
    try {
      return await provider(...args);
    } catch (error) {
      throw new NoCredentials(error);
    }
  };
}

/** DeleteObjects must carry a checksum, and stores older than the SDK's own kinds of it know only this one. */
function addContentMd5(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => args => {
      const { request } = args as { request?: { body?: unknown; headers?: Record<string, string> } };
      const isText = typeof request?.body === 'string' || request?.body instanceof Uint8Array;
      if (context.commandName === 'DeleteObjectsCommand' && request?.headers && isText) {
        request.headers['content-md5'] = createHash('md5')
          .update(request.body as string | Uint8Array)
          .digest('base64');
      }
      return next(args);
    },
    { step: 'finalizeRequest', priority: 'high', name: 'contentMd5' },
  );
}
