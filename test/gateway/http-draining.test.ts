/** How the HTTP server ends while clients are connected, on real sockets. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { readWholeBody } from '../../gateway/http/body.js';
import { oci } from '../../gateway/http/errors.js';
import { createLogger } from '../../lib/telemetry/log.js';
import { RawConnection } from '../support/raw-http.js';
import { suite } from '../support/suite.js';
import { serving } from './serving.js';

const test = suite('gateway http: draining');

test('answers in flight finish, connections are given back, then nobody is let in', async () => {
  await serving(
    async ctx => {
      if (ctx.path === '/slow') await sleep(1_500);
      ctx.body = 'done';
    },
    async (port, server) => {
      const slow = await RawConnection.open(port);
      slow.head('GET /slow HTTP/1.1', 'Host: x');
      const idle = await RawConnection.open(port);
      await sleep(100);
      const stopped = server.stop(5_000, 1_000);
      idle.head('GET / HTTP/1.1', 'Host: x');
      // Those who have not heard of it yet are let in, for a while.
      const late = await RawConnection.open(port);
      late.head('GET / HTTP/1.1', 'Host: x');
      for (const connection of [idle, late]) {
        const farewell = await connection.answer();
        assert.is(farewell.status, 200);
        assert.is(farewell.headers.connection, 'close');
      }
      await sleep(1_100);
      assert.is(await isLetIn(port), false, 'after the farewell');
      const finished = await slow.answer();
      assert.is(finished.body, 'done');
      assert.is(finished.headers.connection, 'close', 'also what had begun before');
      await stopped;
      await slow.closed;
    },
  );
});

test('a connection that could not be told lives on for two seconds after its answer', async () => {
  await serving(
    async ctx => {
      ctx.res.writeHead(200, { 'Content-Length': 4 });
      if (ctx.path === '/slow') ctx.res.write('do');
      if (ctx.path === '/slow') await sleep(300);
      ctx.res.end(ctx.path === '/slow' ? 'ne' : 'done');
      ctx.respond = false;
    },
    async (port, server) => {
      const slow = await RawConnection.open(port);
      slow.head('GET /slow HTTP/1.1', 'Host: x');
      const resting = await RawConnection.open(port);
      await sleep(100);
      const stopped = server.stop(20_000);
      const answer = await slow.answer();
      assert.not.equal(answer.headers.connection, 'close');
      await sleep(200);
      slow.head('GET / HTTP/1.1', 'Host: x');
      assert.is((await slow.answer()).headers.connection, 'close');
      await Promise.all([slow.closed, resting.closed, stopped]);
    },
  );
});

test('who does not finish in time is cut, and the log says how many', async () => {
  const lines: object[] = [];
  const saying = Object.assign(Object.create(createLogger({ name: 'test', level: 'silent' })), {
    warn: (fields: object) => void lines.push(fields),
  });
  await serving(
    async ctx => {
      await readWholeBody(ctx, { limit: 100, tooLarge: () => oci.tooLarge('too large') });
    },
    async (port, server) => {
      const stuck = await RawConnection.open(port);
      stuck.head('PUT / HTTP/1.1', 'Host: x', 'Content-Length: 5');
      await sleep(50);
      const began = Date.now();
      await server.stop(1_000);
      assert.ok(Date.now() - began < 10_000);
      await stuck.closed;
      assert.equal(lines, [{ requests: 1 }]);
    },
    { log: saying },
  );
});

async function isLetIn(port: number): Promise<boolean> {
  return RawConnection.open(port).then(
    () => true,
    () => false,
  );
}

test.run();
