/** From the start of a command to its end: finds a worker, minds the signals, and turns what fails into words and a status. */
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { type AdminAccess, loadAdminAccess } from '../../lib/config/admin.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { StatusError } from '../../lib/rpc/errors.js';
import { askServing } from '../../lib/rpc/health.js';
import { AdminStub } from '../../lib/rpc/proto.js';
import { Security } from '../../lib/rpc/security.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import { type Given, UsageError } from '../command.js';
import { EXIT, Failure } from '../exit.js';
import type { Io } from '../io.js';
import { reasonOf } from '../output/reason.js';
import type { Screen } from '../output/screen.js';
import { Admin } from './admin.js';
import { textOf } from './command.js';

/** How long a worker may take to say that it is there. */
const ANSWER_MS = 3_000;

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
  let admin: Admin | undefined;
  try {
    admin = await findWorker(access, security, interruption.signal);
    return await work(admin, interruption.signal);
  } catch (error) {
    const failure = interruption.failure ?? failureOf(error, admin?.address);
    if (failure instanceof Failure) {
      const { exit, reason, message } = failure;
      screen.object('error', { exit, reason, message });
    }
    throw failure;
  } finally {
    screen.clear();
    admin?.client.close();
    interruption.close();
    await security.close();
  }
}

/** Whom to try in turn, and how. */
function accessOf(given: Given, { env }: Io): AdminAccess {
  const access = loadAdminAccess(textOf(given, 'config'), env);
  const server = textOf(given, 'server');
  return server === undefined ? access : { ...access, servers: addressesOf(server) };
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

async function findWorker(access: AdminAccess, security: Security, signal: AbortSignal): Promise<Admin> {
  const { servers, token } = access;
  const dial = dialOf(access, security);
  const context = { token, signal };
  const failures: string[] = [];
  for (const address of servers) {
    let client: AdminClient | undefined;
    try {
      client = new AdminStub(...dial(address));
      if (await askServing(client, '', ANSWER_MS, context)) return new Admin(client, address, context);
      failures.push(`  ${address}: is shutting down`);
    } catch (error) {
      if (signal.aborted || isRefusal(error)) throw error;
      failures.push(`  ${address}: ${reasonOf(error)}`);
    }
    client?.close();
  }
  throw new Failure(
    EXIT.unreachable,
    [
      'no worker answers:',
      ...failures,
      'Say where one listens (its ENTREPOT_WORKER_LISTEN), with --server HOST:PORT or ENTREPOT_ADMIN_SERVERS.',
    ].join('\n'),
  );
}

/** Whether a worker has answered, and does not let us in. */
function isRefusal(error: unknown): boolean {
  return error instanceof StatusError && (error.status === 'PERMISSION_DENIED' || error.status === 'UNAUTHENTICATED');
}

/** How a worker is reached: with the certificate of this environment, or with the authorities' alone and a token. */
function dialOf({ authority, token }: AdminAccess, security: Security) {
  const options = channelOptions(NEAR_WINDOW);
  if (authority === undefined || token === undefined)
    return (address: string) => security.dial(address, 'worker', options);
  const ca = readAuthority(authority);
  return (address: string) => Security.dialWithAuthority(address, 'worker', options, ca);
}

function readAuthority(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Failure(EXIT.failed, `ENTREPOT_GRPC_TLS_CA: ${error instanceof Error ? error.message : error}`);
  }
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
