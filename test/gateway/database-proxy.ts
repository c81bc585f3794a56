/** Stands between gateways and PostgreSQL: counts round trips, and can be cut. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { atEnd } from '../support/suite.js';

export class DatabaseProxy {
  readonly #server: Server = createServer(client => this.#connect(client));
  readonly #sockets = new Set<Socket>();
  #target = { host: '', port: 0 };
  #port = 0;
  #trips = 0;
  #meanwhile: (() => Promise<void>) | undefined;

  /** How many round trips there were: each ends with a Query or Sync message of the client. */
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
    const messages = messageTypes();
    client.on('data', piece => {
      this.#trips += messages(piece).filter(type => type === 'Q' || type === 'S').length;
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

/** Reads the types of the messages in a client's stream: the first message has none, all others begin with theirs. */
function messageTypes(): (piece: Buffer) => string[] {
  let rest = Buffer.alloc(0);
  let started = false;
  return piece => {
    rest = Buffer.concat([rest, piece]);
    const types: string[] = [];
    while (true) {
      const head = started ? 1 : 0;
      if (rest.length < head + 4) return types;
      const length = head + rest.readUInt32BE(head);
      if (rest.length < length) return types;
      if (started) types.push(rest.toString('latin1', 0, 1));
      started = true;
      rest = rest.subarray(length);
    }
  };
}
