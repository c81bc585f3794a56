/** The PROXY protocol: its header as HAProxy writes it, every way to get it wrong, and connections that begin with one. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { isOfThisMachine } from '../../gateway/auth/caller.js';
import { ClientAddresses } from '../../gateway/auth/client-address.js';
import { createApp } from '../../gateway/http/app.js';
import { parseProxyHeader } from '../../gateway/http/proxy-header.js';
import { ProxyProtocol } from '../../gateway/http/proxy-protocol.js';
import { HttpServer } from '../../gateway/http/server.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { Certificates } from '../../lib/tls/certificates.js';
import { TestAuthority } from '../support/certificates.js';
import { RawConnection } from '../support/raw-http.js';
import { suite } from '../support/suite.js';

const test = suite('gateway: PROXY protocol');
const log = createLogger({ name: 'test', level: 'silent' });

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

function version2(command: number, family: number, body: Buffer, version = 2): Buffer {
  const head = Buffer.from([(version << 4) | command, family, body.length >> 8, body.length & 255]);
  return Buffer.concat([SIGNATURE, head, body]);
}

const TCP4 = Buffer.from([203, 0, 113, 7, 10, 0, 0, 1, 0xde, 0xad, 0x20, 0xfb]);
const TCP6 = Buffer.concat([Buffer.from('20010db8000000000000000000000001', 'hex'), Buffer.alloc(16), Buffer.alloc(4)]);

const GOOD: [Buffer, string | undefined][] = [
  [Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 57005 8443\r\n'), '203.0.113.7'],
  [Buffer.from('PROXY TCP6 2001:db8::1 ::1 0 65535\r\n'), '2001:db8::1'],
  [Buffer.from('PROXY UNKNOWN\r\n'), undefined],
  [Buffer.from('PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n'), undefined],
  [version2(1, 0x11, TCP4), '203.0.113.7'],
  [version2(1, 0x11, Buffer.concat([TCP4, Buffer.from([4, 0, 1, 0])])), '203.0.113.7'],
  [version2(1, 0x21, TCP6), '2001:db8:0:0:0:0:0:1'],
  [version2(1, 0x31, Buffer.alloc(216)), undefined],
  [version2(1, 0x00, Buffer.alloc(0)), undefined],
  [version2(0, 0x00, Buffer.alloc(0)), undefined],
  [version2(0, 0x11, TCP4), undefined],
];

test('headers of both versions, however they come in pieces, and whatever follows', () => {
  for (const [header, source] of GOOD) {
    const expected = { kind: 'header', length: header.length, source };
    assert.equal(parseProxyHeader(header), expected, header.toString('latin1'));
    assert.equal(parseProxyHeader(Buffer.concat([header, Buffer.from('GET / HTTP/1.1\r\n')])), expected);
    for (let length = 0; length < header.length; length++)
      assert.is(parseProxyHeader(header.subarray(0, length)).kind, 'incomplete', `${length} of ${header}`);
  }
});

test('what is wrong is said at once', () => {
  const cases: [Buffer, RegExp][] = [
    [Buffer.from('GET / HTTP/1.1\r\n'), /does not begin/],
    [Buffer.from('\x16\x03\x01', 'latin1'), /does not begin/],
    [Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 57005\r\n'), /not well formed/],
    [Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 57005 65536\r\n'), /not well formed/],
    [Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 057 1\r\n'), /not well formed/],
    [Buffer.from('PROXY TCP4 2001:db8::1 ::1 1 1\r\n'), /not well formed/],
    [Buffer.from('PROXY TCP4  203.0.113.7 10.0.0.1 1 1\r\n'), /not well formed/],
    [Buffer.from('PROXY UDP4 203.0.113.7 10.0.0.1 1 1\r\n'), /not well formed/],
    [Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`), /does not end/],
    [version2(1, 0x11, TCP4, 1), /version 1 is not known/],
    [version2(2, 0x11, TCP4), /command 2 is not known/],
    [version2(1, 0x11, TCP4.subarray(0, 11)), /too short/],
    [version2(1, 0x21, TCP4), /too short/],
    [version2(1, 0x11, Buffer.alloc(5_000)).subarray(0, 16), /too long/],
  ];
  for (const [bytes, reason] of cases) {
    const found = parseProxyHeader(bytes);
    assert.match(found.kind === 'wrong' ? found.reason : found.kind, reason, bytes.toString('latin1').slice(0, 60));
  }
});

test('no bytes make it throw, wait for ever or take more than there are', () => {
  const beginnings = [SIGNATURE, Buffer.from('PROXY '), Buffer.from('PROXY TCP4 '), Buffer.alloc(0)];
  fc.assert(
    fc.property(fc.constantFrom(...beginnings), fc.uint8Array({ maxLength: 5_000 }), (beginning, rest) => {
      const bytes = Buffer.concat([beginning, rest]);
      const found = parseProxyHeader(bytes);
      if (found.kind === 'header') return found.length <= bytes.length;
      return found.kind === 'wrong' || bytes.length < 16 + 4_096;
    }),
    { numRuns: 2_000 },
  );
});

/** Serves who it takes the client for, with TLS and without, while `use` runs; connections from `proxies` are passed on. */
async function serving(proxies: string[], use: (port: number, tlsPort: number, ca: string) => Promise<void>) {
  const authority = await TestAuthority.make();
  const files = { ...(await authority.files('gateway', 'proxied')), ca: undefined };
  const certificates = new Certificates({ files, log });
  const server = new HttpServer({ log, headersTimeoutMs: 300, proxyProtocol: new ProxyProtocol(proxies, log) });
  const addresses = new ClientAddresses([]);
  const handle = createApp({
    log,
    onAnswered: () => {},
    handle: async ctx => {
      ctx.body = `${addresses.of(ctx.req)} ${isOfThisMachine(ctx.req)}`;
    },
  }).callback();
  const { port } = await server.listen({ host: '127.0.0.1', port: 0 }, handle);
  const { port: tlsPort } = await server.listenTls({ host: '127.0.0.1', port: 0 }, certificates);
  try {
    await use(port, tlsPort, authority.authority.cert);
  } finally {
    await server.stop(500);
    await certificates.close();
  }
}

const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

test('the client is who the proxy says, over HTTP', async () => {
  await serving(['127.0.0.0/8'], async port => {
    for (const [header, source] of GOOD) {
      const connection = await RawConnection.open(port);
      // In one piece, in two that cut it, and another request over the same connection.
      await connection.write(header.subarray(0, 5));
      await sleep(5);
      await connection.write(Buffer.concat([header.subarray(5), Buffer.from(GET)]));
      const expected = `${source ?? '127.0.0.1'} false`;
      assert.is((await connection.answer()).body, expected);
      await connection.write(GET);
      assert.is((await connection.answer()).body, expected);
      connection.close();
    }
  });
});

test('and over HTTPS', async () => {
  await serving(['127.0.0.1'], async (_port, tlsPort, ca) => {
    const socket = connect(tlsPort, '127.0.0.1');
    await once(socket, 'connect');
    socket.write(version2(1, 0x11, TCP4));
    const tls = connectTls({ socket, ca, servername: 'localhost', checkServerIdentity: () => undefined });
    await once(tls, 'secureConnect');
    tls.write(GET);
    let answer = '';
    while (!answer.includes('false')) answer += String((await once(tls, 'data'))[0]);
    assert.match(answer, '203.0.113.7 false');
    tls.destroy();
  });
});

test('from a proxy nothing is taken without a header, and heads must end as ever', async () => {
  await serving(['127.0.0.1'], async port => {
    const without = await RawConnection.open(port);
    await without.write(GET);
    await without.closed;
    assert.is(without.pending.length, 0);
    const slow = await RawConnection.open(port);
    await slow.write(Buffer.concat([version2(1, 0x11, TCP4), Buffer.from('GET / HTTP/1.1\r\n')]));
    assert.is((await slow.answer()).status, 408);
    const gone = await RawConnection.open(port);
    await gone.write('PROX');
    gone.socket.end();
    await gone.closed;
  });
});

test('from anybody else a header is no header', async () => {
  await serving(['192.0.2.1'], async port => {
    const honest = await RawConnection.open(port);
    await honest.write(GET);
    assert.is((await honest.answer()).body, '127.0.0.1 true');
    for (const [header] of GOOD) {
      const liar = await RawConnection.open(port);
      await liar.write(Buffer.concat([header, Buffer.from(GET)]));
      assert.is((await liar.answer()).status, 400);
      await liar.closed;
    }
  });
});

test.run();
