/**
 * Widens the HTTP/2 receive window of a grpc-js server.
 *
 * grpc-js lets a client choose its window (`grpc-node.flow_control_window`) but not a server (grpc-node issue 3058),
 * so an upload over a link of 80 ms is held to 5 Mbit/s by the protocol's default of 64 KiB. This file is the only
 * one that reaches into what grpc-js keeps private; grpc-js is therefore pinned to an exact version, and a test reads
 * the window back.
 */

import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Server } from '@grpc/grpc-js';

interface Private {
  commonServerOptions: { settings?: { initialWindowSize?: number } };
  http2Servers: Map<Http2Server, unknown>;
}

function privateParts(server: Server): Private {
  const parts = server as unknown as Partial<Private>;
  if (!parts.commonServerOptions || !(parts.http2Servers instanceof Map)) {
    throw new Error(
      'this version of @grpc/grpc-js keeps its HTTP/2 servers elsewhere: lib/rpc/window.ts must be adapted',
    );
  }
  return parts as Private;
}

/** Call before the server binds: new sessions will offer streams of this many bytes. */
export function widenStreams(server: Server, bytes: number): void {
  const { commonServerOptions } = privateParts(server);
  commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize: bytes };
}

/** Call after the server has bound: widens the window that all streams of a connection share. */
export function widenConnections(server: Server, bytes: number): void {
  for (const http2Server of privateParts(server).http2Servers.keys()) {
    http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(bytes));
  }
}
