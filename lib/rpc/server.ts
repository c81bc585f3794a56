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
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation, protoPath as healthProto } from 'grpc-health-check';
import type { Logger } from 'pino';
import { cannotListen } from '../config/cannot-listen.js';
import type { Address } from '../config/config.js';
import { authorise, type CallerRole } from './authorise.js';
import { CallsInFlight } from './in-flight.js';
import { loadReflected } from './reflected.js';
import { Security } from './security.js';
import { Windows } from './window.js';

/** A service to be served. */
export interface Service {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
  /** The file that it is defined in, for reflection. */
  readonly proto: string;
  /** Who may call it; all others are refused with PERMISSION_DENIED. */
  readonly callers: readonly CallerRole[];
}

/**
 * A connection under TLS is ended after this time, whatever goes on over it: an authority that is not trusted any more
 * does not count for ever. Clients of ours renew theirs long before (renewed.ts), and lose nothing.
 */
const CONNECTION_AGE_MS = { most: 24 * 3_600_000, grace: 60_000 };

export interface ServerOptions {
  readonly services: readonly Service[];
  /** The names that `setHealth` will speak about; NOT_SERVING until it does. */
  readonly healthNames: readonly string[];
  /** How callers prove who they are; plain text on this machine only if absent. */
  readonly security?: Security;
  /** Hears of calls that are refused. */
  readonly log?: Logger;
  /** The key of the configuration that says where it listens, for the error when that cannot be. */
  readonly listenKey?: string;
}

/** A server that listens. */
export interface RunningServer {
  /** Where it listens; tells the port when it was asked for port 0. */
  readonly address: Address;
  /** Says whether `name` can be used now. */
  setHealth(name: string, serving: boolean): void;
  /**
   * Ends in order: health says NOT_SERVING, which sends new calls elsewhere. Those that come all the same are taken for
   * `farewellMs`, and while earlier ones run; these have `graceMs` to finish, then they are cut off.
   */
  stop(graceMs: number, farewellMs?: number): Promise<void>;
}

/**
 * A ping waits behind the bytes that were sent before it, megabytes over a slow link: a client that gets them is not dead.
 * One that is costs what its calls hold, a little longer.
 */
const KEEPALIVE_TIMEOUT_MS = 120_000;

/** Starts a server. Rejects, naming the address and the key, if it cannot listen there. */
export async function startServer(listen: Address, options: ServerOptions): Promise<RunningServer> {
  const { services, security = Security.local } = options;
  const permissions = services.map(({ definition, callers }) => ({
    paths: Object.values(definition).map(method => method.path),
    callers,
  }));
  const uploads = services.flatMap(({ definition }) =>
    Object.values(definition).flatMap(method => (method.requestStream ? [method.path] : [])),
  );
  const calls = new CallsInFlight();
  const uploading = new CallsInFlight(count => windows.fit(count));
  const server = new Server({
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    ...(security.certificates && {
      'grpc.max_connection_age_ms': CONNECTION_AGE_MS.most,
      'grpc.max_connection_age_grace_ms': CONNECTION_AGE_MS.grace,
    }),
    interceptors: [
      calls.interceptor(new Set(permissions.flatMap(({ paths }) => paths))),
      uploading.interceptor(new Set(uploads)),
      authorise(security, permissions, options.log),
    ],
  });
  for (const { definition, implementation } of services) server.addService(definition, implementation);

  const health = new HealthImplementation(
    Object.fromEntries(options.healthNames.map(name => [name, 'NOT_SERVING' as const])),
  );
  const watchers = addHealth(server, health);
  const files = [healthProto, ...services.map(each => each.proto)];
  new ReflectionService(Object.assign({}, ...files.map(loadReflected))).addToServer(server);

  const windows = new Windows(server);
  const tokens = services.some(({ callers }) => callers.includes('administrator'));
  const port = await bind(
    server,
    listen,
    options.listenKey ?? 'its configuration',
    security.serverCredentials(listen.host, tokens),
  );
  windows.bound();

  let ending = false;
  return {
    address: { host: listen.host, port },
    setHealth(name, serving) {
      if (!ending) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    async stop(graceMs, farewellMs = 0) {
      ending = true;
      for (const name of options.healthNames) health.setStatus(name, 'NOT_SERVING');
      const deadline = performance.now() + graceMs;
      const left = await calls.drain(graceMs, farewellMs);
      if (left > 0) options.log?.warn({ calls: left }, 'calls in flight are cut off: the time to finish is over');
      const down = shutdown(server, left > 0 ? 0 : Math.max(0, deadline - performance.now()));
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
 * Adds grpc.health.v1; answers its Watch calls that are open. They have no end of their own, and would hold up a
 * shutdown until its grace is over.
 */
function addHealth(server: Server, health: HealthImplementation): Set<Watch> {
  const watchers = new Set<Watch>();
  health.addToServer({
    addService(definition: ServiceDefinition, implementation: UntypedServiceImplementation) {
      const { watch } = implementation as { watch: (call: Watch) => void };
      server.addService(definition, {
        ...implementation,
        watch(call: Watch) {
          watchers.add(call);
          call.once('cancelled', () => watchers.delete(call));
          watch(call);
        },
      });
    },
  } as Server);
  return watchers;
}

type Watch = ServerWritableStream<unknown, unknown>;

function bind(server: Server, listen: Address, key: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(formatAddress(listen), credentials, (error, port) => {
      if (error) reject(cannotListen(listen, key, error));
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
