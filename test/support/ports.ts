/**
 * Free loopback ports.
 *
 * They lie below the range from which the kernel gives out ports by itself, so no outgoing connection takes one between
 * our look and its use; files that run at the same time get a range each (`ENTREPOT_TEST_SLOT`, set by the runner).
 */
import { createServer } from 'node:net';

const FIRST = 12_000;
const RANGE = 4_000;
const SLOTS = 4;

const slot = Number(process.env.ENTREPOT_TEST_SLOT ?? SLOTS - 1) % SLOTS;
let next = Math.floor(Math.random() * RANGE);

/** A port on 127.0.0.1 that nobody listens on, and that this process has not been given before. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < RANGE; attempt++) {
    const port = FIRST + slot * RANGE + (next++ % RANGE);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${FIRST + slot * RANGE} on`);
}

/** Several different free ports. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
