/** Stands between gateways and PostgreSQL: counts round trips, and can be cut. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { atEnd } from '../support/suite.js';

/** What a gateway asks of itself, at any moment: that it lives, and that workers should wake. It belongs to no request. */
const ASIDE = /^notify |insert into process \(/;

export class DatabaseProxy {
  readonly #server: Server = createServer(client => this.#connect(client));
  readonly #sockets = new Set<Socket>();
  #target = { host: '', port: 0 };
  #port = 0;
  #trips = 0;

  /** How many round trips requests have made: each ends with a Query or Sync message of the client. */
  get trips(): number {
    return this.#trips;
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
    for (const socket of this.#sockets) socket.destroy();
  }

  async mend(): Promise<void> {
    await new Promise<void>(resolve => this.#server.listen(this.#port, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    this.#port = address.port;
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
    const statements = statementsOf();
    client.on('data', piece => {
      this.#trips += statements(piece).filter(text => !ASIDE.test(text)).length;
      upstream.write(piece);
    });
    upstream.on('data', piece => client.write(piece));
  }
}

/**
 * Reads a client's stream; answers the statements that end in each piece. The first message has no type, all others begin
 * with theirs. A statement is a Query, or what Parse has brought (after its name, which is empty here) before a Sync.
 */
function statementsOf(): (piece: Buffer) => string[] {
  let rest = Buffer.alloc(0);
  let started = false;
  let parsed = '';
  return piece => {
    rest = Buffer.concat([rest, piece]);
    const statements: string[] = [];
    while (true) {
      const head = started ? 1 : 0;
      if (rest.length < head + 4) return statements;
      const length = head + rest.readUInt32BE(head);
      if (rest.length < length) return statements;
      const type = started ? rest.toString('latin1', 0, 1) : '';
      const text = (from: number) => rest.toString('latin1', from, length).trimStart();
      if (type === 'P') parsed = text(6);
      if (type === 'Q') statements.push(text(5));
      if (type === 'S') statements.push(parsed);
      started = true;
      rest = rest.subarray(length);
    }
  };
}
