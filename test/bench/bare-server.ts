/**
 * A registry that does nothing: it throws away what is pushed, and answers pulls from memory. Measuring it beside the
 * real ones shows what the client and Node.js' HTTP alone cost. Parameters: the port, and the size of every blob.
 */
import { createServer, type ServerResponse } from 'node:http';

const [port, blobSize] = process.argv.slice(2).map(Number);
const piece = Buffer.alloc(1 << 20);
const manifest = Buffer.alloc(700, '{}');

createServer((request, response) => {
  request.resume();
  if (request.method === 'GET') {
    if (request.url?.includes('/manifests/')) response.end(manifest);
    else void sendBlob(response, blobSize ?? 0);
    return;
  }
  request.once('end', () => {
    const [status, location] = answerTo(request.method, request.url ?? '');
    response.writeHead(status, { 'Content-Length': 0, Location: location });
    response.end();
  });
}).listen(port, '127.0.0.1');

function answerTo(method: string | undefined, url: string): [status: number, location: string] {
  if (method === 'HEAD') return [404, url];
  return method === 'PUT' ? [201, url] : [202, `${url.replace(/\/$/, '')}/upload`];
}

async function sendBlob(response: ServerResponse, size: number): Promise<void> {
  response.writeHead(200, { 'Content-Length': size });
  for (let left = size; left > 0 && !response.destroyed; left -= piece.length) {
    if (response.write(left < piece.length ? piece.subarray(0, left) : piece)) continue;
    await Promise.race(['drain', 'close'].map(event => new Promise(resolve => response.once(event, resolve))));
  }
  response.end();
}
