/**
 * The options of channels to other processes, as the design measured them. How a channel is secured, see security.ts.
 */
import { type ChannelOptions, type Client, connectivityState } from '@grpc/grpc-js';

/** The receive window of a channel inside a region: enough for 10 Gbit/s at 1 ms, and all that a paused reader can hold. */
export const NEAR_WINDOW = 1024 * 1024;

/** The receive window of a channel to another region: fills 1 Gbit/s at 80 ms with a few connections. */
export const FAR_WINDOW = 16 * 1024 * 1024;

/**
 * The receive window of our servers. An upload from another region must not crawl, and uploads are few beside reads.
 * Measured on one connection over 80 ms: 191 Mbit/s with 4 MiB, 280 with 8 and with 16 (the kernel's send buffer is the
 * limit then).
 */
export const SERVER_WINDOW = 8 * 1024 * 1024;

/** Data of one message in a stream. Small enough that a hundred paused streams stay cheap, large enough to be fast. */
export const FRAME_BYTES = 128 * 1024;

/** The options of a channel; `window` is one of the constants above. */
export function channelOptions(window: number): ChannelOptions {
  return {
    'grpc-node.flow_control_window': window,
    // Retries are ours: we know which calls are idempotent. With grpc-js's own, write callbacks prove nothing.
    'grpc.enable_retries': 0,
    // Finds a process that is stopped, or a link that is cut, within seconds; TCP alone would take many minutes.
    'grpc.keepalive_time_ms': 1_000,
    'grpc.keepalive_timeout_ms': 3_000,
    'grpc.keepalive_permit_without_calls': 1,
    // A node that comes back is used again soon.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.min_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
  };
}

/**
 * The options of a channel for streams of bytes to another region. A ping waits behind the bytes that were sent before
 * it: several megabytes in the sender's buffer, which a slow link, or one that many share, carries for seconds. So such a
 * channel is given more time, and health is asked over another one, which answers as soon as the link does.
 */
export function bulkChannelOptions(window: number): ChannelOptions {
  return { ...channelOptions(window), 'grpc.keepalive_timeout_ms': 15_000 };
}

/** Whether a call of this client can go out at once. One that is not connected begins to connect. */
export function isConnected(client: Client): boolean {
  return client.getChannel().getConnectivityState(true) === connectivityState.READY;
}
