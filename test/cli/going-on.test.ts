/** Commands whose worker goes away: what can go on does, at the next one. */
import * as assert from 'uvu/assert';
import { fail } from '../../lib/rpc/errors.js';
import type { RemoveLocationResponse } from '../../proto/generated/entrepot/admin/v1/RemoveLocationResponse.js';
import type { VerifyLocationResponse } from '../../proto/generated/entrepot/admin/v1/VerifyLocationResponse.js';
import type { WatchEventsResponse } from '../../proto/generated/entrepot/admin/v1/WatchEventsResponse.js';
import type { WatchReplicationResponse } from '../../proto/generated/entrepot/admin/v1/WatchReplicationResponse.js';
import { type CommandOutcome, command, objects } from '../support/command-line.js';
import { freePort } from '../support/ports.js';
import { suite } from '../support/suite.js';
import { answers, make, sends, startAdminServer } from './admin-server.js';

const test = suite('cli: going on at another worker');

let first: Awaited<ReturnType<typeof startAdminServer>>;
let second: Awaited<ReturnType<typeof startAdminServer>>;
/** Listens nowhere. */
let nobody: string;

test.before(async () => {
  [first, second] = [await startAdminServer(), await startAdminServer()];
  nobody = `127.0.0.1:${await freePort()}`;
});

/** Runs a command that is to begin at the first worker, and whose next one does not answer. */
function ask(args: readonly string[]): Promise<CommandOutcome> {
  return command([...args, '--server', `${first.address},${nobody},${second.address}`]);
}

/** A handler that sends this, and then says that its worker ends; and a list of the requests that it got. */
function endsAfter<Request, Response>(...messages: Response[]) {
  const requests: Request[] = [];
  const handler = make.serverStream<Request, Response>(async (request, send) => {
    requests.push(request);
    for (const message of messages) await send(message);
    throw fail.draining();
  });
  return { requests, handler };
}

function assertSaid({ stderr }: CommandOutcome): void {
  assert.is(
    stderr,
    `entrepot: the worker at ${first.address} is gone (the node is shutting down): the command goes on at ${second.address}\n`,
  );
}

test('watch goes on with the number that it began with', async () => {
  const waiting: WatchReplicationResponse = { locations: [{ location: 'eustorage', blobs: 1 }], upTo: 42 };
  const [begun, goneOn] = [endsAfter(waiting), sends<unknown, WatchReplicationResponse>({ inSync: true, upTo: 42 })];
  first.script = { WatchReplication: begun.handler };
  second.script = { WatchReplication: goneOn.handler };
  const outcome = await ask(['watch', '--location', 'eustorage']);
  assert.is(outcome.status, 0, outcome.stderr);
  assert.match(outcome.lines.at(-1) ?? '', /^In sync: every copy to eustorage that was required at the call is there/);
  assertSaid(outcome);
  const common = { goal: 'WATCH_GOAL_SNAPSHOT', location: 'eustorage', intervalMs: 1_000 };
  assert.equal(
    [...begun.requests, ...goneOn.requests],
    [
      { ...common, upTo: 0 },
      { ...common, upTo: 42 },
    ],
  );
});

test('with --json it is told as an object, and nothing else is said', async () => {
  first.script = { WatchReplication: endsAfter().handler };
  second.script = { WatchReplication: sends<unknown, WatchReplicationResponse>({ inSync: true }).handler };
  const outcome = await ask(['watch', '--json']);
  assert.is(outcome.status, 0);
  assert.is(outcome.stderr, '');
  const [said] = objects(outcome);
  const lost = { lost: first.address, reason: 'the node is shutting down' };
  assert.equal(said, { event: 'goingOn', address: second.address, ...lost });
});

test('events go on after the last one that was shown', async () => {
  const event: WatchEventsResponse = { id: 7, repository: 'demo/hello', tag: '1', location: 'eustorage' };
  const begun = endsAfter({ ...event, id: 6 }, event);
  const goneOn = sends<unknown, WatchEventsResponse>({ ...event, id: 8 });
  first.script = { WatchEvents: begun.handler };
  second.script = { WatchEvents: goneOn.handler };
  const outcome = await ask(['events', '--new']);
  assert.equal(
    outcome.lines.map(line => line.split(' ')[0]),
    ['6', '7', '8'],
  );
  assert.equal(goneOn.requests, [{ afterId: 7, onlyNew: false, repository: '', location: '' }]);
});

test('a verification goes on where it stopped, once the right of the worker that is gone has run out', async () => {
  const begun = endsAfter<unknown, VerifyLocationResponse>({ progress: { blobsDone: 1, blobsTotal: 2 } });
  const requests: unknown[] = [];
  first.script = { VerifyLocation: begun.handler };
  second.script = {
    VerifyLocation: make.serverStream<unknown, VerifyLocationResponse>(async (request, send) => {
      if (requests.push(request) === 1) throw fail.busyElsewhere('eustorage is being verified by another call');
      await send({ progress: { blobsDone: 2, blobsTotal: 2, done: true } });
    }),
  };
  const outcome = await ask(['verify', 'eustorage', '--restart']);
  assert.is(outcome.status, 0, outcome.stderr);
  assertSaid(outcome);
  assert.equal(
    [...begun.requests, ...requests].map(each => (each as { restart: boolean }).restart),
    [true, false, false],
  );
});

test('but who finds another at it from the first is told so at once', async () => {
  const busy = make.serverStream(() => Promise.reject(fail.busyElsewhere('by another call')));
  first.script = { VerifyLocation: busy };
  const outcome = await ask(['verify', 'eustorage']);
  assert.is(outcome.status, 1);
  assert.match(outcome.stderr, 'by another call');
});

test('a removal goes on', async () => {
  const begun = endsAfter<unknown, RemoveLocationResponse>({ deletedPlacement: 1 });
  const goneOn = sends<unknown, RemoveLocationResponse>({ deletedPlacement: 2 }, { deletedLocation: 'eustorage' });
  first.script = { RemoveLocation: begun.handler };
  second.script = { RemoveLocation: goneOn.handler };
  const outcome = await ask(['removelocation', 'eustorage', '--yes', '--force']);
  assert.is(outcome.status, 0, outcome.stderr);
  assert.equal(outcome.lines, ['Deleted placement 1', 'Deleted placement 2', 'Deleted location eustorage']);
  assert.equal(goneOn.requests, begun.requests);
});

test('a call with one answer is made again', async () => {
  const paused = answers({});
  first.script = { PauseLocation: make.unary(() => Promise.reject(fail.draining())) };
  second.script = { PauseLocation: paused.handler };
  const outcome = await ask(['pause', 'eustorage']);
  assert.is(outcome.status, 0, outcome.stderr);
  assertSaid(outcome);
  assert.equal(paused.requests, [{ location: 'eustorage' }]);
});

test('a worker alone that comes back is asked again', async () => {
  let calls = 0;
  first.script = {
    WatchReplication: make.serverStream<unknown, WatchReplicationResponse>(async (_request, send) => {
      if (++calls < 3) throw fail.draining();
      await send({ inSync: true });
    }),
  };
  const outcome = await command(['watch', '--server', first.address]);
  assert.is(outcome.status, 0, outcome.stderr);
  assert.match(outcome.stderr, 'it is back, and the command goes on');
});

test('what cannot go on, and what is no loss of a worker, ends the command', async () => {
  second.script = { BackfillReplication: sends({ progress: { done: true } }).handler };
  first.script = {
    BackfillReplication: endsAfter().handler,
    RemoveLocation: endsAfter().handler,
    VerifyLocation: endsAfter().handler,
    WatchReplication: make.serverStream(() => Promise.reject(fail.databaseUnavailable(undefined))),
  };
  for (const args of [
    ['backfillreplication'],
    ['removelocation', 'eustorage', '--dry-run'],
    ['verify', 'eustorage', '--dry-run'],
    ['watch'],
  ]) {
    const outcome = await ask(args);
    assert.is(outcome.status, 3, args.join(' '));
    assert.match(outcome.stderr, 'try again later');
  }
});

test.run();
