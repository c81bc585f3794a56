/** From the start of a command to its end: finds a worker, minds the signals, and turns what fails into words and a status. */
import { pino } from 'pino';
import { type AdminAccess, loadAdminAccess } from '../../lib/config/admin.js';
import { StatusError } from '../../lib/rpc/errors.js';
import { Security } from '../../lib/rpc/security.js';
import { stripCredentials } from '../../lib/telemetry/credentials.js';
import { type Given, textOf, UsageError } from '../command.js';
import { EXIT, Failure } from '../exit.js';
import type { Io } from '../io.js';
import { reasonOf } from '../output/reason.js';
import type { Screen } from '../output/screen.js';
import { Admin, type AdminOptions } from './admin.js';
import { dialOf } from './dial.js';
import { Workers } from './workers.js';

interface SessionOptions {
  readonly given: Given;
  readonly io: Io;
  readonly screen: Screen;
  /** What is said when somebody ends the command. */
  readonly ended: string;
}

/** Runs `work` with a worker that answers. Throws a Failure; with `--json` it is told as an object, too. */
export async function withAdmin(
  { given, io, screen, ended }: SessionOptions,
  work: (admin: Admin, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const access = accessOf(given, io);
  // What there is to say about certificates is said by what fails.
  const security = Security.open(access.grpc, pino({ level: 'silent' }));
  const interruption = new Interruption(ended);
  const { signal } = interruption;
  const workers = new Workers({ access, dial: dialOf(access, security), signal });
  try {
    const first = await workers.next();
    const context = { token: access.token, signal };
    return await work(new Admin({ workers, first, context, onNext: sayNext(screen, io) }), signal);
  } catch (error) {
    const failure = interruption.failure ?? failureOf(error, workers.current?.address);
    if (failure instanceof Failure) {
      const { exit, reason, message } = failure;
      screen.object('error', { exit, reason, message });
    }
    throw failure;
  } finally {
    screen.clear();
    workers.close();
    interruption.close();
    await security.close();
  }
}

/** Whom to try in turn, and how. */
function accessOf(given: Given, { env }: Io): AdminAccess {
  const access = loadAdminAccess(textOf(given, 'config'), env);
  const server = textOf(given, 'server');
  return server === undefined ? access : { ...access, servers: addressesOf(server), isGuess: false };
}

function addressesOf(server: string): readonly string[] {
  const addresses = server.split(',').filter(address => address !== '');
  for (const address of addresses) {
    if (!/^(\[[^\]]+\]|[^:\s]+):[0-9]{1,5}$/.test(address))
      throw new UsageError(`--server must be HOST:PORT, for example 10.1.0.5:7090: ${address}`);
  }
  if (addresses.length === 0) throw new UsageError('--server names nobody');
  return addresses;
}

/** Says that another worker is asked from now on. */
function sayNext(screen: Screen, { stderr }: Io): AdminOptions['onNext'] {
  return (lost, address) => {
    screen.object('goingOn', { address, lost: lost.address, reason: lost.reason });
    if (screen.kind === 'json') return;
    screen.clear();
    const at = address === lost.address ? 'it is back, and the command goes on' : `the command goes on at ${address}`;
    stderr.write(stripCredentials(`entrepot: the worker at ${lost.address} is gone (${lost.reason}): ${at}\n`));
  };
}

/** What a call failed with, in words for who called. Other errors than calls' are handed back. */
function failureOf(error: unknown, address: string | undefined): unknown {
  if (!(error instanceof StatusError)) return error;
  const { status, reason = '', message } = error;
  switch (status) {
    case 'INVALID_ARGUMENT':
      return new Failure(EXIT.usage, message, reason);
    case 'UNAVAILABLE':
    case 'DEADLINE_EXCEEDED':
      return new Failure(
        EXIT.unreachable,
        reason
          ? `${message}: try again later`
          : `the worker at ${address} does not answer any more (${reasonOf(error)}). Nothing is left half-done: run the same command again.`,
        reason,
      );
    case 'UNIMPLEMENTED':
      return new Failure(EXIT.failed, `what answers at ${address} does not have this call (${message})`, reason);
    default:
      return new Failure(EXIT.failed, message, reason);
  }
}

/** Ctrl-C and SIGTERM: the first one ends the call, a second one the process. */
class Interruption {
  readonly #ended: string;
  readonly #controller = new AbortController();
  /** What the command has failed with, if it was ended. */
  failure: Failure | undefined;

  constructor(ended: string) {
    this.#ended = ended;
    process.once('SIGINT', this.#onSigint);
    process.once('SIGTERM', this.#onSigterm);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  close(): void {
    process.off('SIGINT', this.#onSigint);
    process.off('SIGTERM', this.#onSigterm);
  }

  readonly #onSigint = () => this.#end(EXIT.interrupted);
  readonly #onSigterm = () => this.#end(EXIT.terminated);

  #end(exit: number): void {
    this.failure = new Failure(exit, `ended. ${this.#ended}`);
    this.#controller.abort();
  }
}
