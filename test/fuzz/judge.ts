/** What every answer must be, whatever was asked. */
import { createHash } from 'node:crypto';
import { ERROR_CODES } from '../../gateway/http/errors.js';
import { isSound, type Outcome, type WireAnswer, type WireRequest } from './wire.js';

/** Codes that stand only beside 5xx. */
const notForClients: readonly string[] = ['UNAVAILABLE', 'UNKNOWN'];
const clientCodes: readonly string[] = ERROR_CODES.filter(code => !notForClients.includes(code));

type Asked = Pick<WireRequest, 'method' | 'headers'>;
/** The request that follows on the same connection. */
const FOLLOWING: Asked = { method: 'GET', headers: [] };

/** What is wrong with all that came back; undefined if nothing is. */
export function complaintOf(request: WireRequest, outcome: Outcome): string | undefined {
  // Node closes a connection that asks for a tunnel.
  if (outcome.answers.length === 0 && !outcome.left && request.method !== 'CONNECT') return 'no answer';
  if (request.followed && !outcome.left && isSound(request.framing)) {
    const [first, second, ...more] = outcome.answers;
    if (more.length > 0) return 'more answers than requests';
    if (second ? second.status !== 200 : first?.headers.connection !== 'close') {
      return `the request that followed was not served: ${first?.status}, then ${second?.status} ${second?.body}`;
    }
  }
  for (const [number, answer] of outcome.answers.entries()) {
    const complaint = number === 0 ? complaintOfAnswer(request, answer) : complaintOfAnswer(FOLLOWING, answer);
    if (complaint) return `${complaint}: ${answer.status} ${answer.body.toString('latin1').slice(0, 500)}`;
  }
  return undefined;
}

function complaintOfAnswer({ method, headers: asked }: Asked, answer: WireAnswer): string | undefined {
  const { status, headers, body } = answer;
  if (status >= 500) return 'a fault of the server';
  if (status >= 400) return method === 'HEAD' ? undefined : complaintOfError(answer);
  if (status === 304) {
    const isCondition = asked.some(([name]) => name.toLowerCase() === 'if-none-match');
    if (!isCondition || (method !== 'GET' && method !== 'HEAD')) return 'a 304 that nobody asked for';
    return headers.etag ? undefined : 'a 304 without ETag';
  }
  if (status >= 300) return 'a redirection that nobody makes';
  // What is told to be a digest's bytes is just that.
  const digest = headers['docker-content-digest'];
  if (status === 200 && method === 'GET' && digest !== undefined) {
    const algorithm = digest.startsWith('sha512:') ? 'sha512' : 'sha256';
    const found = `${algorithm}:${createHash(algorithm).update(body).digest('hex')}`;
    if (found !== digest) return `the bytes are those of ${found}, not of ${digest}`;
  }
  if (status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers['content-range'] ?? '');
    if (!range) return 'a part without Content-Range';
    if (Number(range[2]) - Number(range[1]) + 1 !== body.length && method !== 'HEAD') return 'a part of another length';
    if (Number(range[2]) >= Number(range[3])) return 'a part that ends after the end';
  }
  return undefined;
}

/** Whether an error is one of the distribution specification's, with what its status demands beside it. */
function complaintOfError({ status, headers, body }: WireAnswer): string | undefined {
  if (headers['content-type'] !== 'application/json') return 'an error that is no JSON';
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString());
  } catch {
    return 'an error that is no JSON';
  }
  const errors = isObject(parsed) ? parsed.errors : undefined;
  if (!Array.isArray(errors) || errors.length === 0) return 'an error without errors';
  for (const error of errors) {
    if (!isObject(error) || typeof error.code !== 'string' || !clientCodes.includes(error.code)) return 'an odd code';
    if (typeof error.message !== 'string' || error.message.length < 5) return 'an error that says nothing';
  }
  if (status === 405 && !headers.allow) return 'a 405 without Allow';
  if (status === 429 && !headers['retry-after']) return 'a 429 without Retry-After';
  if (status === 401 && !headers['www-authenticate']) return 'a 401 without WWW-Authenticate';
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
