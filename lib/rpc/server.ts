/**
 * A gRPC server of ours: services and who may call them, grpc.health.v1, reflection, wide windows, and an orderly end.
 */
import {
  Server,
  type ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation, protoPath as healthProto } from 'grpc-health-check';
import type { Address } from '../config/config.js';
import { authorise, type CallerRole } from './authorise.js';
import { SERVER_WINDOW } from './channel.js';
import { Security } from './security.js';
import { widenConnections, widenStreams } from './window.js';

const healthPackage = loadSync(healthProto);

/** A service to be served. */
export interface Service {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
  /** Where its definition comes from, for reflection. */
  readonly package: PackageDefinition;
  /** Who may call it; all others are refused with PERMISSION_DENIED. */
  readonly callers: readonly CallerRole[];
}

/**
 * How long a connection under TLS is used for new calls, so that a certificate that was replaced, or an authority that is
 * not trusted any more, does not count for ever; and how long the calls in flight may then still take: a client that is
 * slow, or a blob that is large, needs hours.
 */
const CONNECTION_AGE_MS = { calls: 10 * 60_000, grace: 24 * 3_600_000 };

export interface ServerOptions {
  readonly services: readonly Service[];
  /** The names that `setHealth` will speak about; NOT_SERVING until it does. */
  readonly healthNames: readonly string[];
  /** How callers prove who they are; plain text on this machine only if absent. */
  readonly security?: Security;
  /** For tests. */
  readonly connectionAgeMs?: number;
}

/** A server that listens. */
export interface RunningServer {
  /** Where it listens; tells the port when it was asked for port 0. */
  readonly address: Address;
  /** Says whether `name` can be used now. */
  setHealth(name: string, serving: boolean): void;
  /**
   * Ends in order: health says NOT_SERVING, new calls go elsewhere, those in flight have `graceMs` to finish, then
   * they are cut off.
   */
  stop(graceMs: number): Promise<void>;
}

/** Starts a server. Rejects, naming the address, if it cannot listen there. */
export async function startServer(listen: Address, options: ServerOptions): Promise<RunningServer> {
  const { services, security = Security.local, connectionAgeMs = CONNECTION_AGE_MS.calls } = options;
  const permissions = services.map(({ definition, callers }) => ({
    paths: Object.values(definition).map(method => method.path),
    callers,
  }));
  const server = new Server({
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 10_000,
    ...(security.certificates && {
      'grpc.max_connection_age_ms': connectionAgeMs,
      'grpc.max_connection_age_grace_ms': CONNECTION_AGE_MS.grace,
    }),
    interceptors: [authorise(security, permissions)],
  });
  for (const { definition, implementation } of services) server.addService(definition, implementation);

  const health = new HealthImplementation(
    Object.fromEntries(options.healthNames.map(name => [name, 'NOT_SERVING' as const])),
  );
  const watchers = addHealth(server, health, security.certificates && connectionAgeMs);
  new ReflectionService(Object.assign({}, healthPackage, ...services.map(each => each.package))).addToServer(server);

  widenStreams(server, SERVER_WINDOW);
  const tokens = services.some(({ callers }) => callers.includes('administrator'));
  const port = await bind(server, listen, security.serverCredentials(listen.host, tokens));
  widenConnections(server, SERVER_WINDOW);

  return {
    address: { host: listen.host, port },
    setHealth: (name, serving) => health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING'),
    async stop(graceMs) {
      for (const name of options.healthNames) health.setStatus(name, 'NOT_SERVING');
      const down = shutdown(server, graceMs);
      for (const call of watchers) call.end();
      await down;
    },
  };
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Adds grpc.health.v1; answers its Watch calls that are open. They have no end of their own: they would hold up a
 * shutdown until its grace is over, and a connection that has reached its age. So they are ended then, in order, and
 * whoever watches does so anew, over the next connection.
 */
function addHealth(server: Server, health: HealthImplementation, connectionAgeMs: number | undefined): Set<Watch> {
  const watchers = new Set<Watch>();
  health.addToServer({
    addService(definition: ServiceDefinition, implementation: UntypedServiceImplementation) {
      const { watch } = implementation as { watch: (call: Watch) => void };
      server.addService(definition, {
        ...implementation,
        watch(call: Watch) {
          watchers.add(call);
          // Ages differ by a tenth.
          const end = connectionAgeMs && setTimeout(() => endWatch(call), connectionAgeMs * 1.2).unref();
          call.once('cancelled', () => {
            watchers.delete(call);
            if (end) clearTimeout(end);
          });
          watch(call);
        },
      });
    },
  } as Server);
  return watchers;
}

/** The implementation forgets a watcher only when it is told that the call was cancelled. */
function endWatch(call: Watch): void {
  call.emit('cancelled', 'its connection has reached its age');
  call.end();
}

type Watch = ServerWritableStream<unknown, unknown>;

function bind(server: Server, listen: Address, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    const address = formatAddress(listen);
    server.bindAsync(address, credentials, (error, port) => {
      if (error) reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
      else resolve(port);
    });
  });
}

function shutdown(server: Server, graceMs: number): Promise<void> {
  return new Promise(resolve => {
    const cutOff = setTimeout(() => server.forceShutdown(), graceMs);
    server.tryShutdown(() => {
      clearTimeout(cutOff);
      resolve();
    });
  });
}
