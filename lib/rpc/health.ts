/** The client side of grpc.health.v1. */
import {
  type CallOptions,
  Client,
  type ClientReadableStream,
  type Metadata,
  type MethodDefinition,
  type requestCallback,
} from '@grpc/grpc-js';
import { service } from 'grpc-health-check';
import { type CallContext, callUnary } from './call.js';
import { channelOptions, NEAR_WINDOW } from './channel.js';
import { Security, type ServerRole } from './security.js';
import { readMessages } from './stream.js';

/** How whoever asks, and whoever is asked, make sure of each other. */
interface Secured {
  readonly security: Security;
  readonly role: ServerRole;
  /** The address is one of this machine, for which the certificate need not be. */
  readonly ownHost?: boolean;
}

const LOCAL: Secured = { security: Security.local, role: 'storage-proxy' };

const check = method('Check');
const watch = method('Watch');

interface HealthAnswer {
  readonly status?: string | number;
}

/**
 * Asks once whether `service` is SERVING at `address` (`host:port`). A node that cannot be reached is not. Plain text on
 * this machine, if nothing else is said.
 */
export function checkHealth(address: string, service: string, timeoutMs: number, secured = LOCAL): Promise<boolean> {
  return askHealthAt(address, service, timeoutMs, secured).catch(() => false);
}

/** The same; throws a StatusError if there is no answer. */
export async function askHealthAt(
  address: string,
  service: string,
  timeoutMs: number,
  { security, role, ownHost = false }: Secured,
): Promise<boolean> {
  const options = channelOptions(NEAR_WINDOW);
  const client = new Client(
    ...(ownHost ? security.dialOwn(address, role, options) : security.dial(address, role, options)),
  );
  try {
    return isServing(await askHealth(client, service, timeoutMs));
  } finally {
    client.close();
  }
}

/** Asks once over a client's channel whether `service` is SERVING. Throws a StatusError if there is no answer. */
export async function askServing(
  client: Client,
  service: string,
  timeoutMs: number,
  context: CallContext = {},
): Promise<boolean> {
  return isServing(await askHealth(client, service, timeoutMs, context));
}

function askHealth(
  client: Client,
  service: string,
  timeoutMs: number,
  context: CallContext = {},
): Promise<HealthAnswer> {
  const ask = (
    request: { service: string },
    metadata: Metadata,
    options: CallOptions,
    callback: requestCallback<HealthAnswer>,
  ) =>
    client.makeUnaryRequest(
      check.path,
      check.requestSerialize,
      check.responseDeserialize as (bytes: Buffer) => HealthAnswer,
      request,
      metadata,
      options,
      callback,
    );
  return callUnary<{ service: string }, HealthAnswer>(ask as never, { service }, context, timeoutMs);
}

/** Follows the health of `service` over a client's channel: yields at once and at each change. Throws when the stream ends badly. */
export async function* watchHealth(client: Client, service: string, signal: AbortSignal): AsyncGenerator<boolean> {
  const call: ClientReadableStream<HealthAnswer> = client.makeServerStreamRequest(
    watch.path,
    watch.requestSerialize,
    watch.responseDeserialize as (bytes: Buffer) => HealthAnswer,
    { service },
  );
  for await (const answer of readMessages<HealthAnswer>(call, signal)) yield isServing(answer);
}

function method(name: string): MethodDefinition<object, object> {
  const definition = service[name];
  if (!definition) throw new Error(`this version of grpc-health-check has no method ${name}`);
  return definition as MethodDefinition<object, object>;
}

function isServing(answer: HealthAnswer): boolean {
  return answer.status === 'SERVING' || answer.status === 1;
}
