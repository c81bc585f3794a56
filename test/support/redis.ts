/** A real redis-server for a suite. A suite that uses it says so: `suite(name, { needs: ['redis-server'] })`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCommand } from './needs.js';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';

export interface RedisServer {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly pid: number;
  /** Sends a signal, for example SIGSTOP and SIGCONT, or SIGKILL. */
  kill(signal: NodeJS.Signals): void;
  /** Ends it; safe to call again. */
  stop(): Promise<void>;
}

/** What a server with TLS and a password wants. */
export interface RedisTlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly password: string;
}

/** Starts a redis-server that keeps everything in memory; it is ended at the end of the suite. With `tls` it speaks nothing else. */
export async function startRedis(port?: number, tls?: RedisTlsFiles): Promise<RedisServer> {
  const command = findCommand('redis-server');
  if (command === undefined) throw new Error('redis-server is not installed');
  const at = port ?? (await freePort());
  const folder = await temporaryFolder('redis');
  const parameters = ['--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
  if (tls) {
    parameters.push('--port', '0', '--tls-port', String(at), '--tls-cert-file', tls.cert, '--tls-key-file', tls.key);
    parameters.push('--tls-ca-cert-file', tls.ca, '--tls-auth-clients', 'optional', '--requirepass', tls.password);
  } else {
    parameters.push('--port', String(at));
  }
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const collect = (text: string) => {
    log += text;
  };
  child.stdout.setEncoding('utf8').on('data', collect);
  child.stderr.setEncoding('utf8').on('data', collect);
  const exited = once(child, 'exit');
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const stop = async () => {
    if (isRunning()) child.kill('SIGKILL');
    await exited;
  };
  atEnd(stop);
  for (let attempt = 0; !(await (tls ? accepts(at) : answers(at))); attempt++) {
    if (!isRunning() || attempt > 200) throw new Error(`redis-server did not start:\n${log}`);
    await sleep(25);
  }
  return { host: '127.0.0.1', port: at, pid: child.pid ?? 0, kill: signal => void child.kill(signal), stop };
}

/** Whether somebody listens. */
function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Whether a PING is answered. */
function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'));
    const settle = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(1_000, () => settle(false));
    socket.once('error', () => settle(false));
    socket.once('data', data => settle(data.toString().startsWith('+PONG')));
  });
}
