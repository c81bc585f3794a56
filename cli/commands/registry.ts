/** `entrepot namespace`, `namespaces` and `mode`: what holds for all of the registry. */
import type { ListNamespaceLocationsResponse__Output as Own } from '../../proto/generated/entrepot/admin/v1/ListNamespaceLocationsResponse.js';
import type { Mode } from '../../proto/generated/entrepot/admin/v1/Mode.js';
import { adminCommand, type Call, operandOf } from '../admin/command.js';
import { type Given, textOf, UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import { table } from '../output/table.js';
import { modeText } from './status-lines.js';

export const namespace = adminCommand({
  name: 'namespace',
  summary: "Say where a namespace's blobs must be, or show it.",
  description: [
    'They must be in these locations in addition to the default ones; with --replace, instead of them: then',
    'they are written, cached and filled there only. With --clear the namespace has no locations of its own',
    'any more. The difference is queued by itself. Without an option it is shown where they must be.',
  ].join('\n'),
  operand: 'NAMESPACE',
  options: {
    locations: { type: 'string', short: 'l', placeholder: 'A,B', help: 'the locations, separated by commas' },
    replace: { type: 'boolean', help: 'instead of the default locations' },
    clear: { type: 'boolean', help: 'no locations of its own' },
  },
  exits: { 0: 'it is recorded (or shown)', 1: 'it failed' },
  check: given => void locationsOf(given),
  async run(call) {
    const { admin, given, screen } = call;
    const name = operandOf(given);
    const wanted = locationsOf(given);
    const set = { namespace: name, locations: wanted ?? [], replace: given.replace === true };
    if (wanted) await admin.ask(admin.client.setNamespaceLocations, set);
    const now = wanted ? set : ((await ownLocations(call, name))[0] ?? set);
    screen.object('namespace', now);
    screen.line(
      now.locations.length > 0
        ? `Blobs of ${name} must be in ${now.locations.join(', ')}, ${besides(now)}.`
        : `Blobs of ${name} must be in the default locations.`,
    );
    return EXIT.done;
  },
});

export const namespaces = adminCommand({
  name: 'namespaces',
  summary: 'Show which namespaces have locations of their own.',
  description: 'Blobs of all others must be in the default locations (DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS).',
  options: {},
  exits: { 0: 'they are shown', 1: 'it failed' },
  async run(call) {
    const { screen } = call;
    const all = await ownLocations(call);
    for (const each of all) screen.object('namespace', each);
    const columns = [
      { title: 'NAMESPACE', cell: (row: Own) => row.namespace },
      { title: 'LOCATIONS', cell: (row: Own) => `${row.locations.join(', ')}, ${besides(row)}` },
    ];
    const lines = all.length > 0 ? table(columns, all) : ['No namespace has locations of its own.'];
    for (const line of lines) screen.line(line);
    return EXIT.done;
  },
});

async function ownLocations({ admin }: Call, namespace = ''): Promise<Own[]> {
  const all: Own[] = [];
  for await (const each of admin.follow(admin.client.listNamespaceLocations, { namespace })) all.push(each);
  return all;
}

function besides({ replace }: { readonly replace: boolean }): string {
  return replace ? 'instead of the default locations' : 'in addition to the default locations';
}

/** Undefined if nothing is to be changed. */
function locationsOf(given: Given): string[] | undefined {
  const text = textOf(given, 'locations');
  const locations = (text ?? '').split(',').filter(name => name !== '');
  if (given.clear === true) {
    if (text === undefined && given.replace !== true) return [];
    throw new UsageError('--clear excludes --locations and --replace');
  }
  if (text === undefined && given.replace !== true) return undefined;
  if (locations.length === 0) throw new UsageError('say where, with --locations A,B, or give --clear');
  return locations;
}

const MODES: Readonly<Record<string, Mode>> = {
  normal: { readOnly: false, pushesDisabled: false },
  'read-only': { readOnly: true, pushesDisabled: false },
  'no-pushes': { readOnly: false, pushesDisabled: true },
};

export const mode = adminCommand({
  name: 'mode',
  summary: 'Make the whole registry read-only, or take no pushes, or neither.',
  description: [
    'MODE is normal; read-only: nothing is changed, neither by pushes nor by deletes; or no-pushes: deletes',
    'work. In force within 5 seconds in every gateway, and kept over restarts. REGISTRY_STATE and',
    "DISABLE_PUSHES in a process's configuration hold besides. 'entrepot status' shows the mode.",
  ].join('\n'),
  operand: 'MODE',
  options: { reason: { type: 'string', placeholder: 'TEXT', help: 'shown to clients that are refused' } },
  exits: { 0: 'it is recorded', 1: 'it failed' },
  check: given => void modeOf(given),
  async run({ admin, given, screen }) {
    const answer = await admin.ask(admin.client.setMode, { mode: modeOf(given) });
    const now = answer.mode ?? { readOnly: false, pushesDisabled: false, reason: '' };
    screen.object('mode', now);
    screen.line(`The registry ${modeText(now)}.`);
    return EXIT.done;
  },
});

function modeOf(given: Given): Mode {
  const word = operandOf(given);
  const found = MODES[word];
  if (!found) throw new UsageError(`there is no mode ${word}; it is one of ${Object.keys(MODES).join(', ')}`);
  const reason = textOf(given, 'reason') ?? '';
  if (word === 'normal' && reason !== '')
    throw new UsageError('--reason is for read-only and no-pushes: nobody is refused now');
  return { ...found, reason };
}
