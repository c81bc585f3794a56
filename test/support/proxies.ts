/**
 * Proxies before gateways, with the samples of deploy/proxies: only the addresses and the certificate in them are changed.
 * A suite that uses them says so: `suite(name, { needs: PROXY_NEEDS })`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { run } from './command.js';
import { findCommand } from './needs.js';
import { freePorts } from './ports.js';
import { distFolder } from './process.js';
import { atEnd } from './suite.js';
import { temporaryFolder } from './tmp.js';
import { until } from './wait.js';

export const PROXY_NEEDS = ['haproxy', 'nginx', 'openssl'];

/** From where connections are passed on, by haproxy-tcp.cfg alone: another address of this machine. */
export const PASSING_ON = '127.0.0.2';

export type ProxySample = 'haproxy-http.cfg' | 'haproxy-tcp.cfg' | 'nginx.conf';

export interface Proxy {
  /** `host:port` where it speaks HTTPS. */
  readonly host: string;
}

/** A certificate for this machine that nobody has signed. */
export interface OwnCertificate {
  readonly cert: string;
  readonly key: string;
  /** Both in one file. */
  readonly both: string;
}

/** Starts it before two gateways (`host:port`), after its own check of its configuration; it ends with the suite. */
export async function startProxy(
  sample: ProxySample,
  gateways: readonly [string, string],
  own: OwnCertificate,
): Promise<Proxy> {
  const folder = await temporaryFolder('proxy');
  const [https, plain] = (await freePorts(2)) as [number, number];
  let text = await readFile(resolve(distFolder, '..', 'deploy', 'proxies', sample), 'utf8');
  const place = (from: RegExp, to: string) => {
    if (!from.test(text)) throw new Error(`${sample} does not hold ${from}`);
    text = text.replaceAll(new RegExp(from, 'gm'), to);
  };
  place(/10\.1\.0\.11:\d+/, gateways[0]);
  place(/10\.1\.0\.12:\d+/, gateways[1]);
  const isNginx = sample === 'nginx.conf';
  place(isNginx ? /listen 443/ : /bind :443/, `${isNginx ? 'listen' : 'bind'} 127.0.0.1:${https}`);
  // As many files as these need may not be opened here.
  place(
    isNginx ? /worker_(connections|rlimit_nofile) \d+/ : /maxconn 10000/,
    isNginx ? 'worker_$1 1000' : 'maxconn 200',
  );
  // Gateways tell it from the other samples by its address.
  if (sample === 'haproxy-tcp.cfg')
    place(/default-server send-proxy-v2/, `default-server source ${PASSING_ON} send-proxy-v2`);
  else place(isNginx ? /listen 80/ : /bind :80/, `${isNginx ? 'listen' : 'bind'} 127.0.0.1:${plain}`);
  if (sample === 'haproxy-http.cfg') place(/\/etc\/haproxy\/registry\.pem/, own.both);
  if (isNginx) {
    place(/\/etc\/nginx\/registry\.crt/, own.cert);
    place(/\/etc\/nginx\/registry\.key/, own.key);
    // Where it writes is compiled in, and belongs to the machine's own.
    const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      name => `  ${name}_temp_path ${folder}/${name};\n`,
    );
    place(/^http \{$/m, `pid ${folder}/pid;\nhttp {\n  access_log off;\n${folders.join('')}`);
  }
  const file = join(folder, sample);
  await writeFile(file, text);

  if (isNginx) {
    await run('nginx', ['-t', '-e', 'stderr', '-p', folder, '-c', file]);
    await listening('nginx', ['-e', 'stderr', '-p', folder, '-c', file, '-g', 'daemon off;'], https);
  } else {
    await run('haproxy', ['-c', '-f', file]);
    await listening('haproxy', ['-db', '-f', file], https);
  }
  return { host: `127.0.0.1:${https}` };
}

async function listening(program: string, parameters: readonly string[], port: number): Promise<void> {
  const command = findCommand(program);
  if (command === undefined) throw new Error(`${program} is not installed`);
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const exited = once(child, 'exit');
  atEnd(async () => {
    // At once, but so that nginx takes its workers along.
    child.kill('SIGTERM');
    await exited;
  });
  if (!(await until(() => child.exitCode !== null || listens(port), 10_000)) || child.exitCode !== null) {
    throw new Error(`${program} does not listen:\n${log}`);
  }
}

/** Makes it. */
export async function ownCertificate(): Promise<OwnCertificate> {
  const folder = await temporaryFolder('certificate');
  const [key, cert, both] = ['key.pem', 'cert.pem', 'both.pem'].map(name => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=127.0.0.1'];
  await run('openssl', [...request, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert]);
  await writeFile(both, (await readFile(cert, 'utf8')) + (await readFile(key, 'utf8')));
  return { cert, key, both };
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
