/** Looks whether all ports are free before anything is started, so that one message can name all that are not. */
import { createServer } from 'node:net';
import { codeOf, LocalError } from './errors.js';
import { type PortName, type Ports, portNames } from './topology.js';

/** Throws a {@link LocalError} that names each port that is taken, and how to choose another. */
export async function checkPorts(ports: Ports): Promise<void> {
  const problems: string[] = [];
  for (const name of portNames) {
    const code = await tryPort(ports[name]);
    if (code !== undefined) problems.push(describe(name, ports[name], code));
  }
  if (problems.length === 0) return;
  throw new LocalError(`${problems.join('\n')}\nTo move all of them together: npm start -- --port-base 9080`);
}

function describe(name: PortName, port: number, code: string): string {
  const what = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be used (${code})`;
  return `Port ${port} of 127.0.0.1 ${what}; ${name} needs it. Another port for it: npm start -- --port ${name}=PORT`;
}

/** Listens for a moment; returns the error's code, if any. */
function tryPort(port: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', error => resolve(codeOf(error) ?? error.message));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
