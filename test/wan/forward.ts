/**
 * Forwards TCP connections to a unix socket: a region's way to a server that runs outside of its network namespace
 * (paths are shared by all of them). Arguments: the address and port to listen on, and the socket's path.
 */
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream';

const [host, port, path = ''] = process.argv.slice(2);

const server = createServer({ noDelay: true }, socket => {
  const inner = connect(path);
  pipeline(socket, inner, () => {});
  pipeline(inner, socket, () => {});
});
server.listen(Number(port), host, () => console.log('listening'));
process.stdin.on('end', () => process.exit()).resume();
