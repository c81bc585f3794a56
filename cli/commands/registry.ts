/** `entrepot namespace` and `mode`: what holds for all of the registry. */
import type { Mode } from '../../proto/generated/entrepot/admin/v1/Mode.js';
import { adminCommand, operandOf } from '../admin/command.js';
import { type Given, textOf, UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import { modeText } from './status-lines.js';

export const namespace = adminCommand({
  name: 'namespace',
  summary: "Say where a namespace's blobs must be.",
  description: [
    'They must be in these locations in addition to the default ones; with --replace, instead of them: then',
    'they are written, cached and filled there only. With --clear the namespace has no locations of its own',
    'any more. The difference is queued by itself.',
  ].join('\n'),
  operand: 'NAMESPACE',
  options: {
    locations: { type: 'string', short: 'l', placeholder: 'A,B', help: 'the locations, separated by commas' },
    replace: { type: 'boolean', help: 'instead of the default locations' },
    clear: { type: 'boolean', help: 'no locations of its own' },
  },
  exits: { 0: 'it is recorded', 1: 'it failed' },
  check: given => void locationsOf(given),
  async run({ admin, given, screen }) {
    const name = operandOf(given);
    const locations = locationsOf(given);
    const replace = given.replace === true;
    await admin.ask(admin.client.setNamespaceLocations, { namespace: name, locations, replace });
    screen.object('namespace', { namespace: name, locations, replace });
    const besides = replace ? 'instead of the default locations' : 'in addition to the default locations';
    screen.line(
      locations.length > 0
        ? `Blobs of ${name} must be in ${locations.join(', ')}, ${besides}.`
        : `Blobs of ${name} must be in the default locations.`,
    );
    return EXIT.done;
  },
});

function locationsOf(given: Given): string[] {
  const text = textOf(given, 'locations');
  const locations = (text ?? '').split(',').filter(name => name !== '');
  if (given.clear === true) {
    if (text === undefined && given.replace !== true) return [];
    throw new UsageError('--clear excludes --locations and --replace');
  }
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
  return { ...found, reason: textOf(given, 'reason') ?? '' };
}
