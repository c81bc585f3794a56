/** Requests that a client sends one behind the other before it has answers (HTTP/1.1 pipelining), on real sockets. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { RawConnection } from '../support/raw-http.js';
import { suite } from '../support/suite.js';
import { finished, until } from '../support/wait.js';
import { serving } from './serving.js';

const test = suite('gateway http: order');

test('requests that a client sends all at once are taken one after the other', async () => {
  const order: string[] = [];
  await serving(
    async ctx => {
      order.push(`begin ${ctx.path}`);
      await sleep(ctx.path === '/4' ? 1_000 : 20);
      ctx.body = ctx.path;
      order.push(`end ${ctx.path}`);
    },
    async port => {
      const connection = await RawConnection.open(port);
      const request = (path: string) => `PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab`;
      await connection.write(['/1', '/2', '/3'].map(request).join(''));
      for (const path of ['/1', '/2', '/3']) assert.is((await connection.answer()).body, path);
      assert.equal(
        order,
        ['/1', '/2', '/3'].flatMap(path => [`begin ${path}`, `end ${path}`]),
      );
      // Whoever is gone by then is not served any more.
      await connection.write(['/4', '/5'].map(request).join(''));
      assert.ok(await until(async () => order.includes('begin /4'), 10_000));
      connection.close();
      assert.ok(await until(async () => order.includes('end /4'), 10_000));
      assert.not(order.includes('begin /5'));
    },
  );
});

test('a client that sends requests without end before it has an answer is cut', async () => {
  let begun = 0;
  let release = () => {};
  const released = new Promise<void>(resolve => {
    release = resolve;
  });
  await serving(
    async ctx => {
      begun++;
      await released;
      ctx.body = 'hello';
    },
    async port => {
      const connection = await RawConnection.open(port);
      try {
        await connection.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(200));
        await finished(connection.closed);
      } finally {
        release();
      }
      assert.is(begun, 1);
    },
  );
});

test('a server that ends waits for what a client has sent all at once', async () => {
  const begun: string[] = [];
  await serving(
    async ctx => {
      begun.push(ctx.path);
      // Longer than a connection may rest then.
      await sleep(ctx.path === '/2' ? 3_000 : 100);
      ctx.body = ctx.path;
    },
    async (port, server) => {
      const connection = await RawConnection.open(port);
      await connection.write(['/1', '/2'].map(path => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
      assert.is((await connection.answer()).body, '/1');
      assert.ok(await until(async () => begun.includes('/2'), 10_000));
      const stopped = server.stop(10_000);
      assert.is((await connection.answer()).body, '/2');
      await stopped;
    },
  );
});

test.run();
