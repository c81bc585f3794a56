/** A rolling restart: one gateway ends while another takes over, under load, and no request fails. */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type GatewayStack, startGatewayStack } from '../support/gateway-stack.js';
import { begin, closing, digestOf, someBytes } from '../support/pushes.js';
import { RawConnection } from '../support/raw-http.js';
import { suite } from '../support/suite.js';
import { until } from '../support/wait.js';

const test = suite('gateway restart');
let stack: GatewayStack;

test.before(async () => {
  stack = await startGatewayStack({ config: { ENTREPOT_SHUTDOWN_DELAY_SECONDS: 5 } });
});

/** What a load balancer knows: it asks for the gateways' health and sends new requests to the first that is well. */
class Balancer {
  readonly #ports: readonly number[];
  readonly #timer: NodeJS.Timeout;
  #well: number;

  constructor(ports: readonly number[]) {
    this.#ports = ports;
    this.#well = ports[0] ?? 0;
    this.#timer = setInterval(() => void this.#look(), 100);
  }

  get port(): number {
    return this.#well;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    for (const port of this.#ports) {
      const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined);
      await answer?.arrayBuffer();
      if (answer?.status !== 200) continue;
      this.#well = port;
      return;
    }
  }
}

/** One client with a connection that it keeps while the gateway does. */
class Client {
  readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #balancer: Balancer;

  constructor(balancer: Balancer) {
    this.#balancer = balancer;
  }

  ask(method: string, path: string, body?: Buffer): Promise<{ status: number; location: string }> {
    return this.#once(this.#balancer.port, method, path, body);
  }

  #once(port: number, method: string, path: string, body?: Buffer): Promise<{ status: number; location: string }> {
    return new Promise((resolve, reject) => {
      const headers = { 'content-length': body?.length ?? 0 };
      const sent = request({ host: '127.0.0.1', port, method, path, agent: this.agent, headers });
      sent.on('error', reject);
      sent.on('response', answer => {
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, location: answer.headers.location ?? '' }));
        answer.resume();
      });
      sent.end(body);
    });
  }
}

test('no request fails', async () => {
  const [leaving, staying] = [await stack.startGateway(), await stack.startGateway()];
  const digest = await stack.client.pushBlob('rolling', someBytes(200_000));
  let ended = false;
  let requests = 0;
  const failures: string[] = [];
  const balancer = new Balancer([leaving.port, staying.port]);
  const load = async (pause: number) => {
    const client = new Client(balancer);
    while (!ended) {
      const bytes = someBytes(5_000);
      try {
        const steps: [number, () => Promise<{ status: number; location: string }>][] = [
          [200, () => client.ask('GET', `/v2/rolling/blobs/${digest}`)],
          [202, () => client.ask('POST', '/v2/rolling/blobs/uploads/')],
        ];
        let location = '';
        for (const [status, step] of steps) {
          const answer = await step();
          requests++;
          if (answer.status !== status) failures.push(`${answer.status}`);
          location = answer.location;
        }
        const patched = await client.ask('PATCH', location, bytes);
        const put = await client.ask('PUT', closing(patched.location, digestOf(bytes)));
        requests += 2;
        if (patched.status !== 202 || put.status !== 201) failures.push(`${patched.status} ${put.status}`);
      } catch (error) {
        failures.push(String(error));
      }
      await sleep(pause);
    }
    client.agent.destroy();
  };
  const loads = [0, 0, 5, 20, 50, 100, 200, 400].map(load);
  assert.ok(await until(() => requests > 100, 20_000));
  const before = requests;
  leaving.process.kill('SIGTERM');
  const exit = await leaving.process.exited;
  await sleep(500);
  ended = true;
  await Promise.all(loads);
  balancer.close();
  assert.equal(failures, []);
  assert.equal(exit, { code: 0, signal: null });
  assert.ok(requests > before, `${before} of ${requests}`);
});

test('what is in flight is finished', async () => {
  const { port, process } = await stack.startGateway();
  const bytes = someBytes(400_000);
  const location = await begin(stack.client, 'flight');
  const connection = await RawConnection.open(port);
  connection.head(`PUT ${closing(location, digestOf(bytes))} HTTP/1.1`, 'Host: x', `Content-Length: ${bytes.length}`);
  await connection.write(bytes.subarray(0, 1_000));
  await sleep(100);
  process.kill('SIGTERM');
  await sleep(2_500);
  assert.ok(process.isRunning());
  await connection.write(bytes.subarray(1_000));
  assert.is((await connection.answer()).status, 201);
  assert.equal(await process.exited, { code: 0, signal: null });
  assert.ok((await stack.client.pullBlob('flight', digestOf(bytes))).equals(bytes));
});

test('health says no as soon as the gateway is told to end', async () => {
  const { port, process } = await stack.startGateway();
  let connection = await RawConnection.open(port);
  connection.head('GET /health/instance HTTP/1.1', 'Host: x');
  const before = await connection.answer();
  assert.is(before.status, 200);
  assert.equal(JSON.parse(before.body), {
    data: { services: { gateway: true, database: true }, informational: { preferred_storage: true } },
    status_code: 200,
  });
  process.kill('SIGTERM');
  let after = before;
  const saysNo = async () => {
    // An answer that had begun when the gateway was told says that its connection ends, too.
    if (after.headers.connection === 'close') connection = await RawConnection.open(port);
    connection.head('GET /health HTTP/1.1', 'Host: x');
    after = await connection.answer();
    return after.status === 503;
  };
  assert.ok(await until(saysNo, 20_000));
  assert.is(after.headers.connection, 'close');
  assert.equal(JSON.parse(after.body).data.services, { gateway: false, database: true });
  await process.exited;
});

test.run();
