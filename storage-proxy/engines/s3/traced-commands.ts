/** A span for each command that is sent to the bucket, its retries included. Of one that reads, it ends where the bytes begin. */
import type { S3Client } from '@aws-sdk/client-s3';
import { type Attributes, beginChild } from '../../../lib/telemetry/span.js';

/** What most commands are about. */
interface Subject {
  readonly Bucket?: unknown;
  readonly Key?: unknown;
}

/** What an answer, and an error, has beside what it says. */
interface Told {
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string; readonly attempts?: number };
}

const NOT_THERE = 404;

export function traceCommands(client: S3Client): void {
  client.middlewareStack.add(
    (next, { commandName = '' }) =>
      async args => {
        const method = commandName.replace(/Command$/, '');
        const span = beginChild(`S3 ${method}`, 'client', inputAttributes(method, args.input as Subject));
        if (!span) return next(args);
        try {
          const answer = await span.run(() => next(args));
          span.set(answerAttributes(answer.output));
          return answer;
        } catch (error) {
          const told = (error ?? {}) as Told;
          span.set(answerAttributes(told));
          // That an object is not there is an answer like any other.
          if (told.$metadata?.httpStatusCode !== NOT_THERE) span.threw(error);
          throw error;
        } finally {
          span.end();
        }
      },
    { step: 'initialize', priority: 'high', name: 'trace' },
  );
}

function inputAttributes(method: string, { Bucket: bucket, Key: key }: Subject): Attributes {
  return {
    'rpc.system': 'aws-api',
    'rpc.service': 'S3',
    'rpc.method': method,
    ...(typeof bucket === 'string' ? { 'aws.s3.bucket': bucket } : {}),
    ...(typeof key === 'string' ? { 'aws.s3.key': key } : {}),
  };
}

function answerAttributes({ $metadata = {} }: Told): Attributes {
  const { httpStatusCode, requestId, attempts } = $metadata;
  return {
    ...(httpStatusCode === undefined ? {} : { 'http.response.status_code': httpStatusCode }),
    ...(requestId === undefined ? {} : { 'aws.request_id': requestId }),
    ...(attempts === undefined ? {} : { 'entrepot.attempts': attempts }),
  };
}
