/** HTTPS that the gateway ends itself: limits, versions, a certificate that is replaced, and the end. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as tcp } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import * as assert from 'uvu/assert';
import { issuedFiles, writeIssued } from '../../cli/certificates/folder.js';
import { createApp } from '../../gateway/http/app.js';
import type { Context } from '../../gateway/http/context.js';
import { HttpServer } from '../../gateway/http/server.js';
import { loadConfig } from '../../lib/config/load.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { Certificates } from '../../lib/tls/certificates.js';
import { TestAuthority } from '../support/certificates.js';
import { load, mistakes, TWO_LOCATIONS, withFile } from '../support/config.js';
import { suite } from '../support/suite.js';
import { soon } from '../support/wait.js';

const test = suite('gateway https');
const log = createLogger({ name: 'test', level: 'silent' });
let ours: TestAuthority;

test.before(async () => {
  ours = await TestAuthority.make();
});

/** Serves `handle` with TLS and without while `use` runs. */
async function serving(
  use: (tlsPort: number, port: number, server: HttpServer) => Promise<void>,
  handle: (ctx: Context) => Promise<void> = async ctx => {
    ctx.body = 'hello';
  },
): Promise<void> {
  const files = { ...(await ours.files('gateway', 'https')), ca: undefined };
  const certificates = new Certificates({ files, log, everyMs: 30 });
  const server = new HttpServer({ log, headersTimeoutMs: 300 });
  const { port } = await server.listen(
    { host: '127.0.0.1', port: 0 },
    createApp({ log, handle, onAnswered: () => {} }).callback(),
  );
  const { port: tlsPort } = await server.listenTls({ host: '127.0.0.1', port: 0 }, certificates);
  try {
    await use(tlsPort, port, server);
  } finally {
    await server.stop(500);
    await certificates.close();
  }
}

async function open(port: number, more: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', ca: ours.authority.cert, ...more });
  socket.on('error', () => {});
  await Promise.race([
    once(socket, 'secureConnect'),
    once(socket, 'close').then(() => Promise.reject(new Error('closed before TLS was agreed on'))),
  ]);
  return socket;
}

/** Sends a head; resolves to what comes back until there is a whole one. */
async function ask(socket: TLSSocket, head = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'): Promise<string> {
  let text = '';
  const collect = (data: Buffer) => {
    text += data;
  };
  socket.on('data', collect);
  socket.write(head);
  await soon('an answer', async () => assert.match(text, '\r\n\r\n'));
  socket.off('data', collect);
  return text;
}

const serialOf = (socket: TLSSocket) => socket.getPeerX509Certificate()?.serialNumber;

test('the same answers as without TLS, under TLS 1.2 and 1.3 only, with the same limits', async () => {
  await serving(async (port, plain) => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await open(port, { minVersion: version, maxVersion: version });
      assert.match(await ask(socket), /^HTTP\/1\.1 200 .*hello/s);
      assert.is(socket.getProtocol(), version);
      socket.destroy();
    }
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    assert.match(String(await open(port, old).catch(error => error)), /alert protocol version|closed before TLS/i);
    assert.match(
      await ask(await open(port), `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(40_000)}\r\n\r\n`),
      /^HTTP\/1\.1 431 /,
    );
    assert.match(await ask(await open(port), 'GET / HTTP/1.1\r\nHost: x\r\n'), /^HTTP\/1\.1 408 /);
    const http = tcp(port, '127.0.0.1').on('error', () => {});
    http.end('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(http.resume(), 'close');
    assert.is((await fetch(`http://127.0.0.1:${plain}/`)).status, 200);
  });
});

test('a replaced certificate is shown to new connections, while a request in flight and its connection live on', async () => {
  let release = () => {};
  const held = new Promise<void>(resolve => {
    release = resolve;
  });
  await serving(
    async port => {
      const socket = await open(port);
      const answer = ask(socket);
      answer.catch(() => {});
      const next = await ours.pair('gateway', 'https');
      writeIssued(issuedFiles(ours.folder, { role: 'gateway', name: 'https' }), next, ours.authority.cert);
      await soon('the new certificate', async () => {
        const other = await open(port);
        const shown = serialOf(other);
        other.destroy();
        assert.is(shown, new X509Certificate(next.cert).serialNumber);
      });
      release();
      assert.match(await answer, /^HTTP\/1\.1 200 .*late/s);
      assert.match(await ask(socket), /^HTTP\/1\.1 200 .*late/s, 'and once more over the same connection');
      socket.destroy();
    },
    async ctx => {
      await held;
      ctx.body = 'late';
    },
  );
});

test('it ends in order, and who never agrees on TLS does not hold it up', async () => {
  await serving(async (port, _plain, server) => {
    const silent = tcp(port, '127.0.0.1').on('error', () => {});
    await once(silent, 'connect');
    const socket = await open(port);
    const began = Date.now();
    const stopping = server.stop(3_000);
    await sleep(50);
    assert.match(await ask(socket), /^HTTP\/1\.1 200 .*Connection: close/is);
    await stopping;
    assert.ok(Date.now() - began < 8_000, 'less than an agreement on TLS may take');
  });
});

test('ssl.cert and ssl.key beside config.yaml, PREFERRED_URL_SCHEME and EXTERNAL_TLS_TERMINATION', async () => {
  const { cert, key } = await ours.pair('gateway');
  const find = (text: string, files: readonly string[]) =>
    withFile(`${TWO_LOCATIONS}\n${text}\n`, file => {
      for (const name of files) writeFileSync(join(dirname(file), name), name === 'ssl.cert' ? cert : key);
      const { https, urlScheme } = loadConfig({ role: 'gateway', file, env: {} });
      return [https?.listen, urlScheme];
    });
  const both = ['ssl.cert', 'ssl.key'];
  assert.equal(find('', []), [undefined, undefined]);
  assert.equal(find('', both), [{ host: '127.0.0.1', port: 8443 }, undefined]);
  assert.equal(find('ENTREPOT_ANONYMOUS_ACCESS: pull', both), [{ host: '0.0.0.0', port: 8443 }, undefined]);
  assert.equal(find('PREFERRED_URL_SCHEME: http', both), [{ host: '127.0.0.1', port: 8443 }, 'http']);
  assert.equal(find('EXTERNAL_TLS_TERMINATION: true', both), [undefined, 'https']);
  assert.throws(() => find('', ['ssl.cert']), /ssl\.key: there is ssl\.cert but no ssl\.key beside it/);
  assert.match(
    mistakes(`${TWO_LOCATIONS}\nPREFERRED_URL_SCHEME: https`).join(),
    /put ssl\.cert and ssl\.key into .*EXTERNAL_TLS_TERMINATION/,
  );
  assert.throws(
    () => find('ENTREPOT_GATEWAY_TLS_LISTEN: 0.0.0.0:8443', both),
    /ENTREPOT_GATEWAY_TLS_LISTEN: other machines/,
  );
  assert.is(load(`${TWO_LOCATIONS}\nPREFERRED_URL_SCHEME: https`, 'worker').https, undefined);
});

test.run();
