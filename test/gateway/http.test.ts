/** The HTTP server and its middleware, on real sockets, with handlers that do only what a test needs. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { readBody, readWholeBody } from '../../gateway/http/body.js';
import type { Context } from '../../gateway/http/context.js';
import { oci } from '../../gateway/http/errors.js';
import { sendStream } from '../../gateway/http/send.js';
import { HttpServer } from '../../gateway/http/server.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { ociClient } from '../support/oci-client.js';
import { RawConnection } from '../support/raw-http.js';
import { suite } from '../support/suite.js';
import { soon } from '../support/wait.js';
import { serving } from './serving.js';

const test = suite('gateway http');
const log = createLogger({ name: 'test', level: 'silent' });

const big = () => oci.tooLarge('too large');
const codeOf = (body: string) => JSON.parse(body).errors[0].code;

async function hello(ctx: Context): Promise<void> {
  ctx.body = 'hello';
}

test('a taken port is named, with the key that chooses another one', async () => {
  await serving(hello, async port => {
    const second = new HttpServer({ log });
    const listening = second.listen({ host: '127.0.0.1', port }, () => {});
    const error = await listening.then(() => undefined, String);
    assert.match(String(error), `127.0.0.1:${port}: something listens there already (ENTREPOT_GATEWAY_LISTEN `);
  });
});

test('what is not HTTP gets a clean answer', async () => {
  await serving(
    hello,
    async port => {
      const cases: [string, number][] = [
        ['NONSENSE\r\n\r\n', 400],
        ['GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n', 400],
        ['GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n', 400],
        ['POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
        ['GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n', 400],
        [`GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(40_000)}\r\n\r\n`, 431],
        ['GET / HTTP/1.1\r\nHost: x\r\n', 408],
      ];
      for (const [text, status] of cases) {
        const connection = await RawConnection.open(port);
        await connection.write(text);
        const answer = await connection.answer();
        assert.is(answer.status, status, text.slice(0, 60));
        assert.type(codeOf(answer.body), 'string');
        assert.is(answer.headers.connection, 'close');
        await connection.closed;
      }
    },
    { headersTimeoutMs: 1_500 },
  );
});

test('what Node would answer by itself, without a word, is ours to answer', async () => {
  await serving(hello, async port => {
    const connection = await RawConnection.open(port);
    connection.head('GET / HTTP/1.1');
    const withoutHost = await connection.answer();
    assert.is(withoutHost.status, 400);
    assert.is(codeOf(withoutHost.body), 'UNSUPPORTED');
    assert.match(withoutHost.body, 'Host');
    connection.head('GET / HTTP/1.1', 'Host: x', 'HOST: y');
    assert.is((await connection.answer()).status, 400);
    // HTTP/1.0 has no such header.
    connection.head('GET / HTTP/1.0', 'Connection: keep-alive');
    assert.is((await connection.answer()).body, 'hello');
    // An expectation that nobody knows.
    connection.head('GET / HTTP/1.1', 'Host: x', 'Expect: something');
    assert.is((await connection.answer()).body, 'hello');
    // A proxy is what we are not.
    connection.head('CONNECT example.com:443 HTTP/1.1', 'Host: example.com:443');
    const tunnel = await connection.answer();
    assert.equal([tunnel.status, tunnel.headers.allow, codeOf(tunnel.body)], [405, 'GET, HEAD', 'UNSUPPORTED']);
    await connection.closed;
  });
});

test('a silent client is ended, also in the middle of its body; one that moves bytes lives on', async () => {
  const received: string[] = [];
  await serving(
    async ctx => {
      const body = await readWholeBody(ctx, { limit: 1_000, tooLarge: big });
      received.push(body.toString());
      ctx.body = 'ok';
    },
    async port => {
      const began = Date.now();
      const silent = await RawConnection.open(port);
      silent.head('PUT /x HTTP/1.1', 'Host: x', 'Content-Length: 5');
      await silent.write('ab');
      await silent.closed;
      assert.ok(Date.now() - began >= 1_400, 'not ended too early');
      assert.is(silent.pending.length, 0);

      const slow = await RawConnection.open(port);
      slow.head('PUT /x HTTP/1.1', 'Host: x', 'Content-Length: 8');
      // Longer together than a client may be silent.
      for (const letter of 'slow but') {
        await sleep(300);
        await slow.write(letter);
      }
      assert.is((await slow.answer()).status, 200);
      slow.close();
      assert.equal(received, ['slow but']);
    },
    { idleTimeoutMs: 1_500 },
  );
});

test('a client that waits for us is not silent', async () => {
  await serving(
    async ctx => {
      await sleep(2_500);
      ctx.body = 'at last';
    },
    async port => {
      const client = ociClient(`http://127.0.0.1:${port}`);
      const answer = await client.request('POST', '/x', { body: 'x' });
      assert.is(answer.body.toString(), 'at last');
      client.close();
    },
    { idleTimeoutMs: 800 },
  );
});

test('a reader that stops reading is ended; one that reads slowly gets all of it', async () => {
  const size = 24 * 1024 * 1024;
  const outcomes: string[] = [];
  await serving(
    async ctx => {
      const signal = ctx.state.signal;
      async function* bytes() {
        for (let sent = 0; sent < size; sent += 65_536) yield Buffer.alloc(65_536);
      }
      signal.addEventListener('abort', () => outcomes.push('gone'));
      await sendStream(ctx, 200, size, bytes());
    },
    async port => {
      const stopped = await RawConnection.open(port);
      stopped.socket.pause();
      stopped.head('GET /x HTTP/1.1', 'Host: x');
      await soon('it is ended', async () => assert.equal(outcomes, ['gone']));
      stopped.close();

      const slow = await RawConnection.open(port);
      let total = 0;
      slow.socket.removeAllListeners('data');
      slow.socket.on('data', piece => {
        total += piece.length;
        slow.socket.pause();
        setTimeout(() => slow.socket.resume(), 6);
      });
      slow.head('GET /x HTTP/1.1', 'Host: x', 'Connection: close');
      await slow.closed;
      assert.ok(total > size, `${total}`);
      assert.equal(outcomes, ['gone']);
    },
    { idleTimeoutMs: 1_500 },
  );
});

test('100 Continue comes when the body is asked for, and not before', async () => {
  let allowed = false;
  await serving(
    async ctx => {
      if (!allowed) throw oci.denied('not that');
      ctx.body = await readWholeBody(ctx, { limit: 10, tooLarge: big });
    },
    async port => {
      const head = ['PUT /x HTTP/1.1', 'Host: x', 'Content-Length: 5', 'Expect: 100-continue'];
      const refused = await RawConnection.open(port);
      refused.head(...head);
      const answer = await refused.answer();
      assert.is(answer.status, 403);
      assert.is(answer.headers.connection, 'close');
      refused.close();

      allowed = true;
      const accepted = await RawConnection.open(port);
      accepted.head(...head);
      assert.is((await accepted.answer()).status, 100);
      await accepted.write('hello');
      assert.is((await accepted.answer()).body, 'hello');
      accepted.close();

      const large = await RawConnection.open(port);
      large.head('PUT /x HTTP/1.1', 'Host: x', 'Content-Length: 50', 'Expect: 100-continue');
      assert.is((await large.answer()).status, 413);
      large.close();
    },
  );
});

test('a refusal is readable though the client still sends', async () => {
  await serving(
    async () => {
      throw oci.denied('not that');
    },
    async port => {
      // One that sends everything before it reads, within what we discard.
      const connection = await RawConnection.open(port);
      connection.socket.pause();
      let failure: unknown;
      connection.socket.on('error', error => {
        failure = error;
      });
      connection.head('PUT /x HTTP/1.1', 'Host: x', `Content-Length: ${6 * 1024 * 1024}`);
      for (let sent = 0; sent < 6 * 1024 * 1024; sent += 262_144) {
        await connection.write(Buffer.alloc(262_144));
        await sleep(1);
      }
      assert.is(failure, undefined);
      connection.socket.resume();
      const answer = await connection.answer();
      assert.is(answer.status, 403);
      assert.is(codeOf(answer.body), 'DENIED');
      assert.is(answer.headers.connection, 'close');
      await connection.closed;

      // One that would send for ever: it is not read for ever, and the answer is there before the connection ends.
      const endless = await RawConnection.open(port);
      endless.head('PUT /x HTTP/1.1', 'Host: x', 'Transfer-Encoding: chunked');
      let sent = 0;
      const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000), Buffer.from('\r\n')]);
      const pump = () => {
        while (!endless.socket.destroyed && sent < 512 * 1024 * 1024) {
          sent += piece.length;
          if (!endless.socket.write(piece)) return void endless.socket.once('drain', pump);
        }
      };
      pump();
      assert.is((await endless.answer()).status, 403);
      await sleep(500);
      assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
      endless.close();
    },
  );
});

test('a small unread body does not cost the connection', async () => {
  await serving(
    async () => {
      throw oci.denied('not that');
    },
    async port => {
      const connection = await RawConnection.open(port);
      for (let i = 0; i < 3; i++) {
        connection.head('PUT /x HTTP/1.1', 'Host: x', 'Content-Length: 5');
        await connection.write('hello');
        assert.is((await connection.answer()).status, 403);
      }
      connection.close();
    },
  );
});

test('a body that is cut short is never taken for whole', async () => {
  const ends: string[] = [];
  await serving(
    async ctx => {
      try {
        for await (const _ of readBody(ctx, { limit: 1_000, tooLarge: big })) ends.push('piece');
        ends.push('whole');
      } catch (error) {
        ends.push(error instanceof Error ? error.name : '?');
        throw error;
      }
    },
    async port => {
      for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
        ends.length = 0;
        const connection = await RawConnection.open(port);
        connection.head('PUT /x HTTP/1.1', 'Host: x', framing);
        await connection.write(framing.includes('chunked') ? '5\r\nhello\r\n' : 'hello');
        await soon('the piece', async () => assert.equal(ends, ['piece']));
        connection.socket.end();
        await connection.closed;
        await soon(framing, async () => assert.equal(ends, ['piece', 'ClientGone']));
      }
    },
  );
});

test('a failure in the middle of an answer cuts the connection', async () => {
  await serving(
    async ctx => {
      async function* bytes() {
        yield Buffer.from('half');
        await sleep(50);
        if (ctx.path === '/fails') throw new Error('the store is gone');
      }
      await sendStream(ctx, 200, 8, bytes());
    },
    async port => {
      for (const path of ['/fails', '/short']) {
        const connection = await RawConnection.open(port);
        connection.head(`GET ${path} HTTP/1.1`, 'Host: x');
        await connection.closed;
        const text = connection.pending.toString();
        assert.match(text, 'Content-Length: 8');
        assert.ok(text.endsWith('half'), text);
      }
    },
  );
});

test('unexpected errors tell nothing of themselves', async () => {
  await serving(
    async () => {
      throw new Error('secret detail');
    },
    async port => {
      const client = ociClient(`http://127.0.0.1:${port}`);
      const answer = await client.request('GET', '/x', {
        headers: { traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01` },
      });
      assert.is(answer.status, 500);
      assert.is(answer.body.toString(), '{"errors":[{"code":"UNKNOWN","message":"internal error"}]}');
      assert.is(answer.headers['x-request-id'], 'ab'.repeat(16));
      const head = await client.request('HEAD', '/x');
      assert.is(head.status, 500);
      assert.is(head.body.length, 0);
      client.close();
    },
  );
});

test.run();
