/** A server with stub handlers of our own service, and a client of it, over a loopback connection that can be cut. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { pino } from 'pino';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { fail } from '../../lib/rpc/errors.js';
import { handlers } from '../../lib/rpc/handler.js';
import { STORAGE_PROTO, StorageStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import { formatAddress, type RunningServer, startServer } from '../../lib/rpc/server.js';
import type { StorageClient, StorageHandlers } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { atEnd } from './suite.js';

export const make = handlers(pino({ level: 'silent' }));

export const HEALTH_NAME = 'entrepot.test';

export interface Pair {
  readonly server: RunningServer;
  readonly client: StorageClient;
  /** `host:port` of the server itself. */
  readonly address: string;
  /** Destroys the connection between the two, as an unplugged cable would, but at once. */
  cut(): void;
}

/** Starts both; they end with the suite. Methods that are not given answer UNIMPLEMENTED. */
export async function startPair(given: Partial<StorageHandlers>): Promise<Pair> {
  const none = Object.fromEntries(
    Object.entries(StorageStub.service).map(([name, { responseStream }]) => [
      name,
      responseStream
        ? make.serverStream(() => Promise.reject(fail.unsupported('a stub')))
        : make.unary(() => Promise.reject(fail.unsupported('a stub'))),
    ]),
  );
  const implementation = Object.assign(none, given);
  const server = await startServer(
    { host: '127.0.0.1', port: 0 },
    {
      services: [
        { definition: StorageStub.service, implementation, proto: STORAGE_PROTO, callers: ['gateway', 'worker'] },
      ],
      healthNames: [HEALTH_NAME],
    },
  );
  const { port, cut, close } = await startRelay(server.address.port);
  const client = new StorageStub(
    ...Security.local.dial(`127.0.0.1:${port}`, 'storage-proxy', channelOptions(NEAR_WINDOW)),
  );
  atEnd(async () => {
    client.close();
    await server.stop(0);
    close();
  });
  return { server, client, address: formatAddress(server.address), cut };
}

/** Hands bytes on in both directions until it is cut. */
async function startRelay(target: number) {
  const sockets = new Set<Socket>();
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const relay = createServer(near => {
    const far = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const address = relay.address();
  if (address === null || typeof address === 'string') throw new Error('the relay has no port');
  const close = () => {
    relay.close();
    cut();
  };
  return { port: address.port, cut, close };
}

/** A promise, and how to settle it from elsewhere. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>(settle => {
    resolve = settle;
  });
  return { promise, resolve };
}
