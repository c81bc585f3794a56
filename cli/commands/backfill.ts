/** `entrepot backfillreplication`: queues what is missing. */
import type { BackfillProgress__Output } from '../../proto/generated/entrepot/admin/v1/BackfillProgress.js';
import type { QueuedCopy__Output } from '../../proto/generated/entrepot/admin/v1/QueuedCopy.js';
import { adminCommand } from '../admin/command.js';
import { textOf } from '../command.js';
import { EXIT } from '../exit.js';
import { count, counted } from '../output/format.js';
import type { Screen } from '../output/screen.js';
import { table } from '../output/table.js';

export const backfill = adminCommand({
  name: 'backfillreplication',
  summary: 'Queue every copy that is required and missing.',
  description: [
    'The queue is kept exact by itself: this finds something only after replication was off, or after the',
    'database was changed by hand. That nothing is found to queue does not mean that everything is copied:',
    "'entrepot watch' waits until it is.",
  ].join('\n'),
  options: {
    location: { type: 'string', short: 'l', placeholder: 'LOCATION', help: 'only copies to this location' },
    namespace: { type: 'string', short: 'n', placeholder: 'NAMESPACE', help: 'only blobs of this namespace' },
    'dry-run': { type: 'boolean', help: 'say what would be queued, and change nothing' },
    list: { type: 'boolean', help: 'name each digest' },
  },
  exits: { 0: 'what was missing is queued', 1: 'it failed, or replication is off' },
  async run({ admin, given, screen }) {
    const dryRun = given['dry-run'] === true;
    let last: BackfillProgress__Output | undefined;
    const events = admin.follow(admin.client.backfillReplication, {
      location: textOf(given, 'location') ?? '',
      namespace: textOf(given, 'namespace') ?? '',
      dryRun,
      list: given.list === true,
    });
    for await (const { progress, queued } of events) {
      if (queued) showQueued(screen, queued, dryRun);
      if (progress) {
        screen.object('progress', progress);
        showProgress(screen, progress);
        last = progress;
      }
    }
    screen.clear();
    if (last) showResult(screen, last, dryRun);
    return EXIT.done;
  },
});

function showQueued(screen: Screen, copy: QueuedCopy__Output, dryRun: boolean): void {
  screen.object('queued', copy);
  const doing = dryRun ? 'Would enqueue' : 'Enqueueing';
  screen.line(`${doing} manifest blob ${copy.digest} to be replicated to ${copy.location}`);
}

function showProgress(screen: Screen, { blobsDone, blobsTotal, locations, done }: BackfillProgress__Output): void {
  if (done) return;
  const queued = locations.reduce((sum, location) => sum + location.queued, 0);
  const text = `${count(blobsDone)} of about ${counted(blobsTotal, 'blob')}, ${count(queued)} queued`;
  screen.progress(text, [{ label: 'backfill', done: blobsDone, total: blobsTotal, text }]);
}

function showResult(screen: Screen, { locations, blobsDone }: BackfillProgress__Output, dryRun: boolean): void {
  const lines = table(
    [
      { title: 'LOCATION', cell: row => row.location },
      { title: dryRun ? 'WOULD QUEUE' : 'QUEUED', right: true, cell: row => count(row.queued) },
      { title: 'ALREADY QUEUED', right: true, cell: row => count(row.alreadyQueued) },
      { title: 'IN SYNC', right: true, cell: row => count(row.inSync) },
    ],
    locations,
  );
  for (const line of lines) screen.line(line);
  const queued = locations.reduce((sum, location) => sum + location.queued, 0);
  const verb = dryRun ? 'would be queued' : queued === 1 ? 'was queued' : 'were queued';
  screen.line(`${counted(blobsDone, 'blob')} looked at; ${counted(queued, 'copy', 'copies')} ${verb}.`);
}
