/** Stands between gateways and PostgreSQL: counts round trips, and can be cut. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { atEnd } from './suite.js';

/**
 * What a gateway asks for itself, whenever it likes: it tells the workers of new copies (beside the answer), says that it
 * lives, and asks who else does. No request waits for any of it.
 */
const BESIDE_REQUESTS = [/^notify /, /\binsert into process /, /\bfrom living_worker\b/];

export class DatabaseProxy {
  readonly #server: Server = createServer(client => this.#connect(client));
  readonly #sockets = new Set<Socket>();
  #target = { host: '', port: 0 };
  #port = 0;
  #trips = 0;
  #meanwhile: (() => Promise<void>) | undefined;

  /** How many round trips `work` makes, without those beside it. Nothing else may be asked of the gateway meanwhile. */
  async tripsOf(work: () => Promise<unknown>): Promise<number> {
    const before = this.#trips;
    await work();
    return this.#trips - before;
  }

  /** Listens; resolves to `url` by way of this proxy. */
  async through(url: string): Promise<string> {
    const { hostname, port } = new URL(url);
    this.#target = { host: hostname, port: Number(port) };
    await this.mend();
    atEnd(() => this.cut());
    return Object.assign(new URL(url), { hostname: '127.0.0.1', port: String(this.#port) }).href;
  }

  /** Closes all connections and takes no new ones. */
  cut(): void {
    this.#server.close();
    this.loseConnections();
  }

  async mend(): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(this.#port, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    this.#port = address.port;
  }

  /** Closes all connections. */
  loseConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /**
   * The next answer of the server, which by then has committed, is lost with its connection. The client learns it when
   * `meanwhile` is done.
   */
  loseNextAnswer(meanwhile: () => Promise<void>): void {
    this.#meanwhile = meanwhile;
  }

  #connect(client: Socket): void {
    const upstream = connect(this.#target);
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
        this.#sockets.delete(socket);
      });
    }
    const statements = statementReader();
    client.on('data', piece => {
      this.#trips += statements(piece).filter(text => !BESIDE_REQUESTS.some(each => each.test(text))).length;
      upstream.write(piece);
    });
    let lost = false;
    upstream.on('data', piece => {
      const meanwhile = this.#meanwhile;
      if (!lost && meanwhile) {
        lost = true;
        this.#meanwhile = undefined;
        meanwhile().finally(() => client.destroy());
      }
      if (!lost) client.write(piece);
    });
  }
}

/**
 * Reads a client's stream: the statements that it has ended with a Query or Sync message, which are round trips. The first
 * message has no type; all others begin with theirs.
 */
function statementReader(): (piece: Buffer) => string[] {
  let rest = Buffer.alloc(0);
  let started = false;
  let parsed = '';
  return piece => {
    rest = Buffer.concat([rest, piece]);
    const ended: string[] = [];
    while (true) {
      const head = started ? 1 : 0;
      if (rest.length < head + 4) return ended;
      const length = head + rest.readUInt32BE(head);
      if (rest.length < length) return ended;
      const type = started ? rest.toString('latin1', 0, 1) : '';
      const body = rest.subarray(head + 4, length);
      if (type === 'Q') ended.push(textAt(body, 0));
      // A statement's name (of no character: we give none), then its text.
      if (type === 'P') parsed = textAt(body, body.indexOf(0) + 1);
      if (type === 'S') ended.push(parsed);
      started = true;
      rest = rest.subarray(length);
    }
  };
}

function textAt(body: Buffer, from: number): string {
  return body.toString('utf8', from, body.indexOf(0, from)).trim();
}
