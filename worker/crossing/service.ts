/** The service of crossing.proto. */
import type { Logger } from 'pino';
import type { Locations } from '../../lib/locations/locations.js';
import { parseDigest } from '../../lib/oci/digest.js';
import { asSize } from '../../lib/oci/size.js';
import { fail } from '../../lib/rpc/errors.js';
import { type HandlerOptions, handlers } from '../../lib/rpc/handler.js';
import { CROSSING_PROTO, CrossingStub } from '../../lib/rpc/proto.js';
import type { Service } from '../../lib/rpc/server.js';
import type { CrossingHandlers } from '../../proto/generated/entrepot/crossing/v1/Crossing.js';
import type { EndReason } from '../../proto/generated/entrepot/crossing/v1/EndReason.js';
import type { FollowRequest__Output } from '../../proto/generated/entrepot/crossing/v1/FollowRequest.js';
import type { FollowResponse } from '../../proto/generated/entrepot/crossing/v1/FollowResponse.js';
import type { Asked, Asking } from './asking.js';
import type { News, Wanted } from './crossing.js';
import type { Crossings } from './crossings.js';

export interface CrossingServiceOptions {
  readonly crossings: Crossings;
  readonly asking: Asking;
  readonly locations: Locations;
  /** Hears of each call that is over. */
  readonly onAnswered?: HandlerOptions['onAnswered'];
  readonly log: Logger;
}

/** Each holds a frame and what the transport buffers: well below 100 KiB while its reader keeps up, about 1 MiB if not. */
const FOLLOWERS_AT_ONCE = 500;

/** The crossing service, ready to be served. */
export function crossingService(options: CrossingServiceOptions): Service {
  const { crossings, asking, locations, onAnswered, log } = options;
  const make = handlers(log, { onAnswered });
  let followers = 0;

  /** What a caller is told. */
  function news(asked: Asked, wanted: Wanted, signal: AbortSignal): AsyncIterable<News> | News[] {
    const underWay = crossings.find(asked);
    if (underWay) return underWay.follow(wanted, signal);
    const ended = crossings.ended(asked);
    if (ended) return [ended];
    return asking.begin(asked)?.follow(wanted, signal) ?? [{ kind: 'failed' }];
  }

  const implementation: CrossingHandlers = {
    Follow: make.serverStream<FollowRequest__Output, FollowResponse>(async (request, send, { signal, traceId }) => {
      const { asked, wanted } = readRequest(request, traceId, locations);
      if (followers >= FOLLOWERS_AT_ONCE) throw fail.busy(`${followers} blobs are being followed`);
      followers++;
      try {
        let last: News | undefined;
        for await (last of news(asked, wanted, signal)) await send(messageOf(last));
        if (!last || last.kind === 'data' || last.kind === 'waiting') await send(end('END_REASON_COMPLETE'));
      } finally {
        followers--;
      }
    }),
  };
  return {
    definition: CrossingStub.service,
    implementation,
    proto: CROSSING_PROTO,
    callers: ['gateway', 'worker'],
  };
}

function messageOf(news: News): FollowResponse {
  switch (news.kind) {
    case 'data':
      return { data: news.data };
    case 'waiting':
      return { waiting: {} };
    case 'stored':
      return end('END_REASON_STORED');
    case 'elsewhere':
      return end('END_REASON_ELSEWHERE', news.worker);
    case 'not-required':
      return end('END_REASON_NOT_REQUIRED');
    case 'behind':
      return end('END_REASON_BEHIND');
    case 'failed':
      return end('END_REASON_UNAVAILABLE');
  }
}

function end(reason: keyof typeof EndReason, worker = ''): FollowResponse {
  return { end: { reason, worker } };
}

/** Checks what a caller sent. Throws `fail.malformed`. */
function readRequest(request: FollowRequest__Output, traceId: string | undefined, locations: Locations) {
  const digest = parseDigest(request.digest);
  if (!digest) throw fail.malformed(`not a digest: ${JSON.stringify(request.digest.slice(0, 160))}`);
  const target = request.location;
  if (!locations.get(target)) {
    throw fail.malformed(
      `this worker's DISTRIBUTED_STORAGE_CONFIG has no location ${JSON.stringify(target.slice(0, 160))}`,
    );
  }
  const [size, offset, limit, patienceMs] = [request.size, request.offset, request.limit, request.patienceMs].map(
    asBytes,
  ) as [number, number, number, number];
  if (offset + limit > size) throw fail.malformed(`bytes ${offset} to ${offset + limit} of ${size} are wanted`);
  const asked: Asked = { digest, target, size, holders: request.holders, traceId };
  const wanted: Wanted = { offset, limit, patienceMs };
  return { asked, wanted };
}

function asBytes(value: unknown): number {
  try {
    return asSize(value);
  } catch {
    throw fail.malformed(`not a size in bytes: ${JSON.stringify(String(value).slice(0, 160))}`);
  }
}
