/** `entrepot adopt`: takes over a store that holds blobs already, and lets go of what nobody wants of it. */
import type { AdoptProgress__Output } from '../../proto/generated/entrepot/admin/v1/AdoptProgress.js';
import { adminCommand, type Call, operandOf } from '../admin/command.js';
import { UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, count, counted } from '../output/format.js';
import { showFinding } from './verify.js';

export const adopt = adminCommand({
  name: 'adopt',
  summary: 'Take over a store that holds blobs already.',
  description: [
    'Records every object of the store that has the layout which Quay uses too, as an unverified copy. Such',
    'copies can be pulled once a repository refers to them, and are held until then, or until --release.',
    'Objects that do not fit are reported and left alone. It can be ended at any time; the same command',
    'goes on.',
  ].join('\n'),
  operand: 'LOCATION',
  options: {
    'dry-run': { type: 'boolean', help: 'say what would be recorded, and change nothing' },
    release: { type: 'boolean', help: 'let go of what was adopted and nobody refers to; the objects stay' },
  },
  exits: { 0: 'it is taken over (or released)', 1: 'some objects do not fit, or it failed' },
  check(given) {
    if (given.release === true && given['dry-run'] === true)
      throw new UsageError('--release has no --dry-run: give one of them');
  },
  run: call => (call.given.release === true ? release(call) : takeOver(call)),
});

async function release({ admin, given, screen }: Call): Promise<number> {
  const { blobs } = await admin.ask(admin.client.releaseAdopted, { location: operandOf(given) });
  screen.object('released', { blobs });
  screen.line(`${counted(blobs, 'blob')} that nobody refers to: let go of.`);
  return EXIT.done;
}

async function takeOver({ admin, given, screen }: Call): Promise<number> {
  const dryRun = given['dry-run'] === true;
  let last: AdoptProgress__Output | undefined;
  const events = admin.follow(admin.client.adoptLocation, { location: operandOf(given), dryRun });
  for await (const { progress, conflict } of events) {
    if (conflict) showFinding(screen, 'conflict', conflict);
    if (progress) {
      screen.object('progress', progress);
      last = progress;
      // How many objects a store has is known at its end only: there is nothing to draw a bar of.
      screen.progress(`${counted(progress.objects, 'object')}: ${outcome(progress, dryRun)}`);
    }
  }
  screen.clear();
  if (last) screen.line(`${counted(last.objects, 'object')} looked at: ${outcome(last, dryRun)}.`);
  return last?.conflicts === 0 ? EXIT.done : EXIT.failed;
}

function outcome({ adopted, bytes: size, known, conflicts }: AdoptProgress__Output, dryRun: boolean): string {
  const verb = dryRun ? 'would be adopted' : 'adopted';
  return `${count(adopted)} ${verb} (${bytes(size)}), ${count(known)} known already, ${count(conflicts)} that ${conflicts === 1 ? 'does' : 'do'} not fit`;
}
