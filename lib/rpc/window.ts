/**
 * The HTTP/2 receive windows of a grpc-js server.
 *
 * grpc-js lets a client choose its window (`grpc-node.flow_control_window`) but not a server (grpc-node issue 3058),
 * so an upload over a link of 80 ms is held to 5 Mbit/s by the protocol's default of 64 KiB. This file is the only
 * one that reaches into what grpc-js keeps private; grpc-js is therefore pinned to an exact version, and a test reads
 * the window back.
 *
 * A stream's window is what its caller may send ahead of what is read: memory of ours while a disk is slow. So it becomes
 * narrower while many upload. HTTP/2 has that apply to streams that are open already, too; what they have sent stays.
 */

import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Readable } from 'node:stream';
import type { Server } from '@grpc/grpc-js';
import { FRAME_BYTES, SERVER_WINDOW } from './channel.js';

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

/**
 * Has a call's stream keep so many messages that its handler has not read yet: grpc-js makes it with Node's default of 16,
 * which of an upload's are up to 8 MiB beside the window, and no option says otherwise.
 */
export function readAhead(call: Readable, messages: number): void {
  Reflect.set(Reflect.get(call, '_readableState'), 'highWaterMark', messages);
}

/** What all uploads together may be sent ahead, as long as each gets what it cannot do without. */
const UPLOADS_AHEAD = 64 * 1024 * 1024;
const NARROWEST = 2 * FRAME_BYTES;

/** The window of each stream while so many uploads are open: halved as often as it must be. */
function windowOf(uploads: number): number {
  let bytes = SERVER_WINDOW;
  while (bytes > NARROWEST && bytes * uploads > UPLOADS_AHEAD) bytes /= 2;
  return bytes;
}

/** The windows of a server's streams and connections. To be made before it binds; `bound` after that. */
export class Windows {
  readonly #parts: Private;
  /** The connections, each with the window that it was told last. */
  readonly #sessions = new Map<ServerHttp2Session, number>();
  #bytes = SERVER_WINDOW;

  constructor(server: Server) {
    this.#parts = privateParts(server);
    const { commonServerOptions } = this.#parts;
    commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize: SERVER_WINDOW };
  }

  /** Widens the window that all streams of a connection share, too: it bounds nothing, but must not be in their way. */
  bound(): void {
    for (const http2Server of this.#parts.http2Servers.keys()) {
      http2Server.on('session', (session: ServerHttp2Session) => {
        session.setLocalWindowSize(SERVER_WINDOW);
        this.#sessions.set(session, this.#bytes);
        session.on('localSettings', () => this.#tell(session));
        session.once('close', () => this.#sessions.delete(session));
      });
    }
  }

  /** How many uploads are open now. */
  fit(uploads: number): void {
    const most = windowOf(uploads);
    // Wider again only with room to spare, so that one that comes and goes does not change it each time.
    if (most > this.#bytes && windowOf(2 * uploads) <= this.#bytes) return;
    if (most === this.#bytes) return;
    this.#bytes = most;
    for (const http2Server of this.#parts.http2Servers.keys()) http2Server.updateSettings({ initialWindowSize: most });
    for (const session of this.#sessions.keys()) this.#tell(session);
  }

  /** One change at a time: the next one is told when the caller has taken note of this one. */
  #tell(session: ServerHttp2Session): void {
    const bytes = this.#bytes;
    if (session.pendingSettingsAck || session.destroyed || this.#sessions.get(session) === bytes) return;
    this.#sessions.set(session, bytes);
    session.settings({ initialWindowSize: bytes });
  }
}
