/**
 * HAProxy before gateways, as operators put it there: it ends TLS, and gives each request to the next gateway. A suite that
 * uses it says so: `suite(name, { needs: HAPROXY_NEEDS })`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { run } from './command.js';
import { findCommand } from './needs.js';
import { freePort } from './ports.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';
import { until } from './wait.js';

export const HAPROXY_NEEDS = ['haproxy', 'openssl'];

export interface Haproxy {
  /** `host:port` where it speaks HTTPS, with a certificate that nobody has signed. */
  readonly host: string;
}

/** Starts it before gateways (`host:port`); it ends with the suite. */
export async function startHaproxy(gateways: readonly string[]): Promise<Haproxy> {
  const command = findCommand('haproxy');
  if (command === undefined) throw new Error('haproxy is not installed');
  const folder = await temporaryFolder('haproxy');
  const port = await freePort();
  const configuration = join(folder, 'haproxy.cfg');
  await writeFile(configuration, configurationOf(port, await certificate(folder), gateways));
  const child = spawn(command, ['-db', '-f', configuration], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const exited = once(child, 'exit');
  atEnd(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  if (!(await until(() => child.exitCode !== null || listens(port), 10_000)) || child.exitCode !== null) {
    throw new Error(`haproxy does not listen:\n${log}`);
  }
  return { host: `127.0.0.1:${port}` };
}

function configurationOf(port: number, certificatePath: string, gateways: readonly string[]): string {
  const servers = gateways.map((address, number) => `  server gateway-${number} ${address}`);
  return `
global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind 127.0.0.1:${port} ssl crt ${certificatePath}
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend gateways
backend gateways
  balance roundrobin
${servers.join('\n')}
`;
}

/** The path of a certificate with its key, in one file. */
async function certificate(folder: string): Promise<string> {
  const [key, own, both] = ['key.pem', 'own.pem', 'both.pem'].map(name => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=127.0.0.1'];
  await run('openssl', [...request, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', own]);
  await writeFile(both, (await readFile(own, 'utf8')) + (await readFile(key, 'utf8')));
  return both;
}

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
