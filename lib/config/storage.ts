/**
 * `DISTRIBUTED_STORAGE_CONFIG`: the locations and their engines.
 *
 * This is the file's most secret part, and only one process may hold a piece of it: the arguments of a location's
 * engine are kept for the storage-proxy that owns the location and dropped here for everyone else.
 */
import type { OwnedLocation } from './config.js';
import { DRIVERS } from './drivers.js';
import { engineComplaints } from './engines/engines.js';
import { mostSimilar } from './keys.js';
import type { Reader } from './reader.js';

const KEY = 'DISTRIBUTED_STORAGE_CONFIG';
const FORM = 'must be a pair of a driver and its arguments, for example [LocalStorage, {storage_path: /data}]';
// Names are written in lists that are separated by spaces, in logs, in commands.
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** The names of all locations in the file's order; also of those whose engine is wrong, which is noted. */
export function readLocationNames(reader: Reader): readonly string[] {
  const entries = storageEntries(reader);
  for (const [name, pair] of entries) checkPair(reader, name, pair);
  return entries.map(([name]) => name);
}

/** The location that a storage-proxy owns, with its arguments. Undefined if it is missing or wrong (noted by the function above). */
export function readOwnedLocation(reader: Reader, name: string): OwnedLocation | undefined {
  const pair: unknown = storageEntries(reader).find(entry => entry[0] === name)?.[1];
  if (!Array.isArray(pair) || typeof pair[0] !== 'string' || !isMapping(pair[1])) return undefined;
  return { name, driver: pair[0], arguments: structuredClone(pair[1]) };
}

/** Notes what is wrong with the arguments of a location's engine. */
export function checkEngine(reader: Reader, name: string): void {
  const engine = readOwnedLocation(reader, name);
  // What is no engine at all was noted before.
  if (!engine) return;
  for (const { path, message } of engineComplaints(engine.driver, ownArguments(engine)))
    reader.mistake(KEY, message, [name, ...path]);
}

/** The same for all locations; not for one without any arguments: those are in another process's file then. */
export function checkEngines(reader: Reader): void {
  for (const [name, pair] of storageEntries(reader)) {
    if (Array.isArray(pair) && isMapping(pair[1]) && Object.keys(pair[1]).length > 0) checkEngine(reader, name);
  }
}

/** Without those that are our own keys, and misplaced: that is noted by itself. */
function ownArguments({ arguments: all }: OwnedLocation): Record<string, unknown> {
  return Object.fromEntries(Object.entries(all).filter(([key]) => !isMisplaced(key)));
}

function isMisplaced(key: string): boolean {
  return key.toUpperCase().startsWith('ENTREPOT_');
}

function isDriver(name: unknown): boolean {
  return DRIVERS.some(known => known === name);
}

function storageEntries(reader: Reader): [string, unknown][] {
  const value = reader.raw(KEY)?.value;
  return isMapping(value) ? Object.entries(value) : [];
}

/** Notes that the whole key is missing or no mapping. */
export function checkStorage(reader: Reader): void {
  const setting = reader.raw(KEY);
  const example = 'write the locations below it, for example {usstorage: [LocalStorage, {storage_path: /data}]}';
  if (!setting) reader.mistake(KEY, `is missing; ${example}`);
  else if (!isMapping(setting.value)) reader.mistake(KEY, `must be a mapping; ${example}`);
  else if (Object.keys(setting.value).length === 0) reader.mistake(KEY, `names no location; ${example}`);
}

function checkPair(reader: Reader, name: string, pair: unknown): void {
  const mistake = (message: string) => reader.mistake(KEY, message, [name]);
  if (!NAME.test(name)) mistake('a location is named by letters, digits and _ . - only');
  if (!Array.isArray(pair) || pair.length !== 2 || !isMapping(pair[1])) {
    mistake(FORM);
    return;
  }
  const [driver, engineArguments] = pair;
  if (!isDriver(driver)) {
    const similar = typeof driver === 'string' ? mostSimilar(driver, DRIVERS) : undefined;
    mistake(`unknown driver; ${similar ? `did you mean ${similar}? ` : ''}known are ${DRIVERS.join(', ')}`);
  }
  for (const key of Object.keys(engineArguments)) {
    if (!isMisplaced(key)) continue;
    reader.mistake(KEY, "does not belong into an engine's arguments; move it to the top level of the file", [
      name,
      key,
    ]);
  }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
