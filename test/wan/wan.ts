/**
 * Two regions far apart, on one machine: network namespaces, and a wire between them that is long, bounded in rate and
 * loses packets (wire.c). Needs root, the `ip` command and a C compiler. Everything ends with the suite.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { run } from '../support/command.js';
import { distFolder } from '../support/process.js';
import { atEnd } from '../support/suite.js';
import { temporaryFolder } from '../support/tmp.js';

export interface Wire {
  /** One way, in milliseconds. */
  readonly delayMs: number;
  readonly lossPercent: number;
  /** Each direction, in Mbit/s. */
  readonly rateMbit: number;
  /** Whether its ends do what network cards do: take many TCP segments as one, and hand them over so. */
  readonly offload?: boolean;
}

/** One end of the wire. */
export interface Region {
  /** Its address on the wire. */
  readonly address: string;
  /** The beginning of a command that is to run there; it becomes that command. */
  readonly through: readonly string[];
  /** Runs a program there to its end; returns what it wrote. */
  run(command: string, parameters: readonly string[], timeoutMs?: number): Promise<string>;
}

export interface Wan {
  readonly us: Region;
  readonly eu: Region;
  /** What the kernel calls the congestion control in force. */
  readonly congestionControl: string;
  /** Lets every packet vanish from now on, or no longer. */
  cut(): void;
  mend(): void;
}

/** What the tests that use it need (test/support/needs.ts). */
export const wanNeeds = ['ip', 'cc'];

let count = 0;

/** Lays a wire. `congestionControl` is the kernel's own choice if absent. */
export async function layWire(wire: Wire, congestionControl?: string): Promise<Wan> {
  const name = `entrepot-${process.pid}-${++count}`;
  const us = await makeRegion(`${name}-us`, '198.18.0.1');
  const eu = await makeRegion(`${name}-eu`, '198.18.0.2');
  const program = join(await temporaryFolder('wire'), 'wire');
  await run('cc', ['-O2', '-pthread', '-o', program, resolve(distFolder, '..', 'test', 'wan', 'wire.c')]);
  const { delayMs, lossPercent, rateMbit, offload } = wire;
  const figures = [delayMs, lossPercent, rateMbit].map(String);
  const child = spawn(program, [`${name}-us`, `${name}-eu`, ...figures, ...(offload ? ['offload'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  atEnd(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await Promise.race([
    once(child.stdout, 'data'),
    exited.then(() => Promise.reject(new Error('the wire cannot be laid: it needs root and /dev/net/tun'))),
  ]);
  for (const { address, run: inRegion } of [us, eu]) {
    await inRegion('ip', ['address', 'add', `${address}/24`, 'dev', 'wan0']);
    // A device of 500 packets would lose some before they reach the wire.
    await inRegion('ip', ['link', 'set', 'wan0', 'mtu', '1500', 'txqueuelen', '20000', 'up']);
    if (congestionControl) await inRegion('sysctl', ['-qw', `net.ipv4.tcp_congestion_control=${congestionControl}`]);
  }
  return {
    us,
    eu,
    congestionControl: (await eu.run('sysctl', ['-n', 'net.ipv4.tcp_congestion_control'])).trim(),
    cut: () => void child.kill('SIGUSR1'),
    mend: () => void child.kill('SIGUSR2'),
  };
}

async function makeRegion(name: string, address: string): Promise<Region> {
  await run('ip', ['netns', 'add', name]);
  atEnd(() => run('ip', ['netns', 'del', name]));
  const through = ['ip', 'netns', 'exec', name];
  const region: Region = {
    address,
    through,
    run: (command, parameters, timeoutMs) =>
      run('ip', [...through.slice(1), command, ...parameters], { timeoutMs: timeoutMs ?? 60_000 }),
  };
  await region.run('ip', ['link', 'set', 'lo', 'up']);
  return region;
}
