/** Our HTTP server on a real socket, with a handler that does only what a test needs. */
import { createApp } from '../../gateway/http/app.js';
import type { Context } from '../../gateway/http/context.js';
import { HttpServer } from '../../gateway/http/server.js';
import { createLogger, type Logger } from '../../lib/telemetry/log.js';

const silent = createLogger({ name: 'test', level: 'silent' });

/** Serves `handle` while `use` runs. */
export async function serving(
  handle: (ctx: Context) => Promise<void>,
  use: (port: number, server: HttpServer) => Promise<void>,
  { log = silent, ...limits }: { idleTimeoutMs?: number; headersTimeoutMs?: number; log?: Logger } = {},
): Promise<void> {
  const server = new HttpServer({ log, ...limits });
  const { port } = await server.listen(
    { host: '127.0.0.1', port: 0 },
    createApp({ log, handle, onAnswered: () => {} }).callback(),
  );
  try {
    await use(port, server);
  } finally {
    await server.stop(500);
  }
}
