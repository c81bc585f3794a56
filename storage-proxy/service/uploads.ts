/** Uploads: StartUpload, AppendUpload, FindCheckpoint, CommitUpload, AbortUpload. */
import { isDigestAlgorithm } from '../../lib/oci/digest.js';
import { fail } from '../../lib/rpc/errors.js';
import type { Send } from '../../lib/rpc/handler.js';
import type { AbortUploadRequest__Output } from '../../proto/generated/entrepot/storage/v1/AbortUploadRequest.js';
import type { AbortUploadResponse } from '../../proto/generated/entrepot/storage/v1/AbortUploadResponse.js';
import type { AppendUploadRequest__Output } from '../../proto/generated/entrepot/storage/v1/AppendUploadRequest.js';
import type { AppendUploadResponse } from '../../proto/generated/entrepot/storage/v1/AppendUploadResponse.js';
import type { CommitUploadRequest__Output } from '../../proto/generated/entrepot/storage/v1/CommitUploadRequest.js';
import type { CommitUploadResponse } from '../../proto/generated/entrepot/storage/v1/CommitUploadResponse.js';
import type { FindCheckpointRequest__Output } from '../../proto/generated/entrepot/storage/v1/FindCheckpointRequest.js';
import type { FindCheckpointResponse } from '../../proto/generated/entrepot/storage/v1/FindCheckpointResponse.js';
import type { StartUploadRequest__Output } from '../../proto/generated/entrepot/storage/v1/StartUploadRequest.js';
import type { StartUploadResponse } from '../../proto/generated/entrepot/storage/v1/StartUploadResponse.js';
import type { Checkpoint } from '../engines/engine.js';
import { NewestCheckpoints } from './newest.js';
import type { Parts } from './service.js';
import { openSession, sealSession } from './session.js';
import { asBytes, asDigest, asOptionalDigest, quoted } from './validate.js';

/** Data of one message, as Describe says. Up to sixteen of them wait for a slow store (lib/rpc/window.ts). */
export const MAX_APPEND_BYTES = 512 * 1024;

export function uploadHandlers({ engine, gates, make, metrics }: Parts) {
  const newest = new NewestCheckpoints();
  return {
    StartUpload: make.unary<StartUploadRequest__Output, StartUploadResponse>(async (request, { signal }) => {
      const digest = asOptionalDigest(request.digest);
      const algorithm = request.algorithm || 'sha256';
      if (!isDigestAlgorithm(algorithm))
        throw fail.malformed(`not an algorithm (sha256 or sha512): ${quoted(algorithm)}`);
      return { session: sealSession(await engine.begin({ digest, algorithm }, signal)) };
    }),

    AppendUpload: make.bidi<AppendUploadRequest__Output, AppendUploadResponse>((requests, send, { signal }) =>
      gates.appends.run(signal, async () => {
        const messages = requests[Symbol.asyncIterator]();
        const session = await readHeader(messages);
        const sender = new CheckpointSender(send);
        const data = readData(messages, bytes => metrics.moved('written', bytes));
        const upload = engine.nameOf(session);
        const given = (checkpoint: Checkpoint) => {
          newest.note(upload, checkpoint);
          sender.offer(checkpoint);
        };
        const last = await engine.append(session, data, given, signal);
        newest.note(upload, last);
        await sender.last(last);
      }),
    ),

    FindCheckpoint: make.unary<FindCheckpointRequest__Output, FindCheckpointResponse>(async request => {
      const known = openSession(request.session);
      return toMessage(newest.of(engine.nameOf(known.session), known));
    }),

    CommitUpload: make.unary<CommitUploadRequest__Output, CommitUploadResponse>(async (request, { signal }) => {
      const { session } = openSession(request.session);
      const digest = asDigest(request.digest);
      return gates.commits.run(signal, async () => {
        const size = await engine.commit(session, digest, signal);
        newest.forget(engine.nameOf(session));
        return { size };
      });
    }),

    AbortUpload: make.unary<AbortUploadRequest__Output, AbortUploadResponse>(async (request, { signal }) => {
      await engine.abort(openSession(request.session).session, signal);
      return {};
    }),
  };
}

/** The engine's session from the first message. */
async function readHeader(messages: AsyncIterator<AppendUploadRequest__Output>): Promise<Buffer> {
  const first = await messages.next();
  const header = first.done ? undefined : first.value.header;
  if (!header) throw fail.malformed('the first message of AppendUpload must be the header');
  const { offset, session } = openSession(header.session);
  const said = header.offset === undefined ? offset : asBytes('offset', header.offset);
  if (said !== offset) throw fail.offset(`the session ends at ${offset}, not at ${said}`);
  return session;
}

/** The data of the messages after it. */
async function* readData(
  messages: AsyncIterator<AppendUploadRequest__Output>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  while (true) {
    const next = await messages.next();
    if (next.done) return;
    const { data } = next.value;
    if (!data) throw fail.malformed('every message of AppendUpload after the header must have data');
    if (data.length > MAX_APPEND_BYTES)
      throw fail.malformed(`a message has ${data.length} bytes of data; at most ${MAX_APPEND_BYTES} are taken`);
    onBytes(data.length);
    yield data;
  }
}

/**
 * Sends checkpoints to a caller that may be slow to take them, without holding up the engine: of those that wait, only
 * the newest matters.
 */
class CheckpointSender {
  readonly #send: Send<AppendUploadResponse>;
  #newest: Checkpoint | undefined;
  #sending: Promise<void> | undefined;

  constructor(send: Send<AppendUploadResponse>) {
    this.#send = send;
  }

  offer(checkpoint: Checkpoint): void {
    this.#newest = checkpoint;
    // If it fails, the call has ended, and the engine hears of that through its source.
    this.#sending ??= this.#sendAll().catch(() => {});
  }

  async last(checkpoint: Checkpoint): Promise<void> {
    this.#newest = undefined;
    await this.#sending;
    await this.#send(toMessage(checkpoint));
  }

  async #sendAll(): Promise<void> {
    while (this.#newest) {
      const checkpoint = this.#newest;
      this.#newest = undefined;
      await this.#send(toMessage(checkpoint));
    }
    this.#sending = undefined;
  }
}

function toMessage(checkpoint: Checkpoint): { offset: number; session: Buffer } {
  return { offset: checkpoint.offset, session: sealSession(checkpoint) };
}
