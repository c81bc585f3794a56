/** What `entrepot status` shows. */
import type { Limits__Output } from '../../proto/generated/entrepot/admin/v1/Limits.js';
import type { ListLocationsResponse__Output } from '../../proto/generated/entrepot/admin/v1/ListLocationsResponse.js';
import type { LocationStatus__Output } from '../../proto/generated/entrepot/admin/v1/LocationStatus.js';
import type { Mode__Output } from '../../proto/generated/entrepot/admin/v1/Mode.js';
import { bytes, count, counted, duration, moment } from '../output/format.js';
import { type Column, table } from '../output/table.js';

const COLUMNS: readonly Column<LocationStatus__Output>[] = [
  { title: 'LOCATION', cell: row => `${row.name}${row.isDefault ? '' : ' (not default)'}` },
  { title: 'ENGINE', cell: row => row.engine || '-' },
  { title: 'STATE', cell: stateOf },
  { title: 'HEALTH', cell: healthOf },
  { title: 'BLOBS', right: true, cell: row => count(row.blobs) },
  { title: 'SIZE', right: true, cell: row => bytes(row.bytes) },
  { title: 'MISSING', right: true, cell: row => count(row.missing) },
  { title: 'UNVERIFIED', right: true, cell: row => count(row.unverified) },
  { title: 'OLDEST', right: true, cell: row => (row.missing > 0 ? duration(row.oldestMissingMs) : '-') },
  { title: 'LIMITS', cell: row => limitsText(row.limits) },
  { title: 'WORKERS', cell: workersOf },
];

export function statusLines(answer: ListLocationsResponse__Output): string[] {
  const { locations, mode, openChanges } = answer;
  const errors = locations.filter(({ lastError }) => lastError !== '');
  const unknown = locations.filter(({ notConfigured }) => notConfigured);
  return [
    ...table(COLUMNS, locations),
    ...errors.map(({ name, lastError }) => `${name}: the last copy that failed: ${lastError}`),
    ...unknown.map(
      ({ name }) =>
        `${name}: the worker that answers does not have it in its configuration, and cannot tell its health.`,
    ),
    ...configurations(answer),
    ...(mode?.readOnly || mode?.pushesDisabled ? [`The registry ${modeText(mode)}.`] : []),
    ...(openChanges > 0
      ? [`${counted(openChanges, 'change')} of where blobs must be: the difference is still being queued.`]
      : []),
    verdict(answer),
  ];
}

function verdict({ inSync, locations }: ListLocationsResponse__Output): string {
  if (inSync) return 'In sync: no required copy is missing anywhere.';
  const missing = locations.reduce((sum, location) => sum + location.missing, 0);
  const size = locations.reduce((sum, location) => sum + location.missingBytes, 0);
  return `Not in sync: ${counted(missing, 'copy', 'copies')} missing (${bytes(size)}).`;
}

/** Processes with different configuration, those of one kind together. */
function configurations({ configurationsDiffer, processes }: ListLocationsResponse__Output): string[] {
  if (!configurationsDiffer) return [];
  const hashes = [...new Set(processes.map(({ configHash }) => configHash))];
  return [
    'The processes run with different shared configuration (locations, defaults, limits):',
    ...hashes.map(hash => {
      const those = processes.filter(({ configHash }) => configHash === hash);
      const names = those.map(
        ({ role, address, version, startedAt }) => `${role} ${address} (${version}, since ${moment(startedAt)})`,
      );
      return `  ${hash.slice(0, 12)}  ${names.join(', ')}`;
    }),
  ];
}

function stateOf({ state, paused }: LocationStatus__Output): string {
  const word = state.replace('LOCATION_STATE_', '').toLowerCase();
  return paused ? `${word}, paused` : word;
}

function healthOf({ notConfigured, readable, writable }: LocationStatus__Output): string {
  if (notConfigured) return 'not known';
  if (readable && writable) return 'ok';
  if (readable) return 'read only';
  return writable ? 'write only' : 'away';
}

function workersOf({ workers, takenOver }: LocationStatus__Output): string {
  if (workers.length === 0) return 'none';
  return `${workers.join(' ')}${takenOver ? ' (taken over)' : ''}`;
}

/** `4 at a time, 50 MiB/s`; `none`. */
export function limitsText(limits: Limits__Output | null): string {
  const parts = [
    ...(limits && limits.concurrency > 0 ? [`${count(limits.concurrency)} at a time`] : []),
    ...(limits && limits.bytesPerSecond > 0 ? [`${bytes(limits.bytesPerSecond)}/s`] : []),
  ];
  return parts.join(', ') || 'none';
}

/** `is read-only (moving to another data centre)`. */
export function modeText({ readOnly, pushesDisabled, reason }: Mode__Output): string {
  const text = readOnly ? 'is read-only' : pushesDisabled ? 'takes no pushes' : 'takes pushes and deletes';
  return reason ? `${text} (${reason})` : text;
}
