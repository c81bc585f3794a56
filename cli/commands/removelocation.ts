/** `entrepot removelocation`: Quay's words, and what Quay does not check. */
import type { RemoveLocationRequest } from '../../proto/generated/entrepot/admin/v1/RemoveLocationRequest.js';
import { type AdminCommand, adminCommand, type Call, operandOf } from '../admin/command.js';
import { UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import { confirmed } from '../output/prompt.js';
import type { Screen } from '../output/screen.js';
import { unknownLocation } from './named.js';
import { Removal } from './removal.js';

const own: AdminCommand = {
  name: 'removelocation',
  summary: 'Remove a location for good.',
  description: [
    'First nothing new is written there, and what has its last verified copy there is copied away. Then its',
    'records are deleted, and at last its name, which cannot be used again. The objects in its store stay,',
    'unless they are asked to be deleted. It can be ended at any time; the same command goes on, and with',
    '--give-up the location is in use again.',
    'It refuses to remove the only location, one that a running process has among its default locations',
    '(DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS), and one that blobs have their last copy in: without --force.',
    'With --force it first lists every image that breaks.',
  ].join('\n'),
  operand: 'LOCATION',
  options: {
    yes: { type: 'boolean', short: 'y', help: 'do not ask' },
    'dry-run': { type: 'boolean', help: 'say what would be done and what stands in the way, and change nothing' },
    force: { type: 'boolean', help: 'remove it though blobs lose their last copy' },
    'delete-objects': { type: 'boolean', help: 'delete the objects in its store, too' },
    'give-up': { type: 'boolean', help: 'give up a removal that was begun: the location is in use again' },
  },
  exits: { 0: 'it is removed (could be, with --dry-run)', 1: 'it is not: refused, failed, or not confirmed' },
  ended: 'Nothing is left half-done: the same command goes on, and with --give-up the location is in use again.',
  check(given) {
    const others = ['dry-run', 'force', 'delete-objects'].filter(option => given[option] === true);
    if (given['give-up'] === true && others.length > 0)
      throw new UsageError(`--give-up excludes ${others.map(option => `--${option}`).join(', ')}`);
  },
  async run(call) {
    const location = operandOf(call.given);
    const dryRun = call.given['dry-run'] === true;
    if (call.given['give-up'] === true) return giveUp(call, location);
    const force = call.given.force === true;
    if (!dryRun && call.given.yes !== true) {
      await known(call, location);
      // Whoever forces it is to know what that breaks before they say yes.
      if (force) await remove(call, location, true);
      if (!(await confirmed(call, warning(location)))) {
        call.screen.object('canceled', { location });
        call.screen.line('Canceling operation...');
        return EXIT.failed;
      }
    }
    const broken = await remove(call, location, dryRun);
    return dryRun && broken > 0 && !force ? EXIT.failed : EXIT.done;
  },
};

export const removeLocation = adminCommand(own);

function warning(location: string): string {
  return `WARNING: This is a destructive operation. Are you sure you want to remove ${location} from your storage locations? [y/n] `;
}

/** Nobody is asked whether to remove what is not there. */
async function known({ admin }: Call, location: string): Promise<void> {
  const { locations } = await admin.ask(admin.client.listLocations, {});
  if (!locations.some(({ name }) => name === location)) throw unknownLocation(location);
}

async function giveUp({ admin, screen }: Call, location: string): Promise<number> {
  const request: RemoveLocationRequest = { location, giveUp: true };
  for await (const _ of admin.follow(admin.client.removeLocation, request, () => request));
  screen.object('givenUp', { location });
  screen.line(`${location} is in use.`);
  return EXIT.done;
}

/** Makes the call and shows what it says; resolves to the number of images that break. */
async function remove({ admin, given, screen }: Call, location: string, dryRun: boolean): Promise<number> {
  const removal = new Removal(screen);
  const request: RemoveLocationRequest = {
    location,
    confirm: dryRun ? '' : location,
    dryRun,
    force: given.force === true,
    deleteObjects: given['delete-objects'] === true,
  };
  // A dry run would say again what it has said.
  const events = admin.follow(admin.client.removeLocation, request, dryRun ? undefined : () => request);
  let broken = 0;
  for await (const message of events) {
    if (message.event === 'progress' && message.progress) {
      screen.object('progress', message.progress);
      removal.progress(message.progress, dryRun);
    } else if (message.event === 'deletedPlacement') {
      screen.object('deletedPlacement', { id: message.deletedPlacement });
      screen.line(`Deleted placement ${message.deletedPlacement}`);
    } else if (message.event === 'broken' && message.broken) {
      broken++;
      const { repository, tag, manifest, digest } = message.broken;
      screen.object('broken', message.broken);
      const image = `${repository}${tag ? `:${tag}` : `@${manifest}`}`;
      screen.line(
        dryRun
          ? `Would break ${image}, unless ${digest} can be copied away first`
          : `Breaks ${image}: ${digest} is nowhere else`,
      );
    } else if (message.event === 'deletedLocation') {
      screen.clear();
      screen.object(dryRun ? 'wouldDeleteLocation' : 'deletedLocation', { location: message.deletedLocation });
      conclude(screen, message.deletedLocation ?? location, dryRun, broken);
    }
  }
  return broken;
}

function conclude(screen: Screen, location: string, dryRun: boolean, broken: number): void {
  if (!dryRun) screen.line(`Deleted location ${location}`);
  else if (broken === 0) screen.line(`Would delete location ${location}`);
  else screen.line(`Would delete location ${location}, and may break the images above`);
}
