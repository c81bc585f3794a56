/** The launcher's command line. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { codeOf, LocalError } from './errors.js';
import { defaultPorts, type PortName, type Ports, portNames } from './topology.js';

export interface Options {
  /** The folder that keeps everything, absolute. */
  readonly data: string;
  readonly ports: Ports;
  /** Whether a process that dies is started again. */
  readonly restart: boolean;
}

const portList = portNames.map(name => `${name}=${defaultPorts[name]}`).join(', ');

export const help = `Usage: npm start -- [options]

Builds and starts a whole two-region registry on this machine, and stops it at Ctrl-C.

  --data FOLDER      where everything is kept (default: .entrepot in the project's folder)
  --port NAME=PORT   another port for one listener; may be given several times. The defaults:
                     ${portList}
  --port-base PORT   ports PORT to PORT+${portNames.length - 1} for all listeners, in that order
  --no-restart       leave a process that dies as it is, instead of starting it again
  --help             this text`;

/** Reads the arguments; undefined if only help is wanted. */
export function parseOptions(parameters: readonly string[], projectFolder: string): Options | undefined {
  const values = parse(parameters);
  if (values.help) return undefined;
  return {
    data: resolve(projectFolder, values.data ?? '.entrepot'),
    ports: portsOf(values['port-base'], values.port ?? []),
    restart: !values['no-restart'],
  };
}

function parse(parameters: readonly string[]) {
  try {
    return parseArgs({
      args: [...parameters],
      options: {
        data: { type: 'string' },
        port: { type: 'string', multiple: true },
        'port-base': { type: 'string' },
        'no-restart': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    if (codeOf(error)?.startsWith('ERR_PARSE_ARGS')) throw new LocalError(`${(error as Error).message}\n\n${help}`);
    throw error;
  }
}

function portsOf(base: string | undefined, single: readonly string[]): Ports {
  const ports: Record<PortName, number> = { ...defaultPorts };
  if (base !== undefined) {
    const first = portNumber('--port-base', base, 65535 - portNames.length + 1);
    for (const [index, name] of portNames.entries()) ports[name] = first + index;
  }
  for (const text of single) {
    const [given, number = ''] = text.split('=');
    const name = portNames.find(known => known === given);
    if (name === undefined) {
      throw new LocalError(`--port ${text}: write NAME=PORT, where NAME is one of ${portNames.join(', ')}.`);
    }
    ports[name] = portNumber(`--port ${name}`, number, 65535);
  }
  for (const name of portNames) {
    const twin = portNames.find(other => other !== name && ports[other] === ports[name]);
    if (twin !== undefined) throw new LocalError(`Port ${ports[name]} is given to both ${name} and ${twin}.`);
  }
  return ports;
}

function portNumber(flag: string, text: string, highest: number): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= highest) return port;
  throw new LocalError(`${flag}: "${text}" is not a port number from 1 to ${highest}.`);
}
