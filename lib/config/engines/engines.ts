/**
 * The engines that this version can use, and the arguments that each takes: Quay's keys.
 *
 * They are read here, and not only when an engine is made, so that a mistake in them is told with all others, and to
 * `entrepot config check`, too. What arguments hold may be secret: a complaint names keys, and never repeats a value.
 */
import type { z } from 'zod';
import { localArguments } from './local.js';
import { s3Drivers } from './s3.js';

const FORMS: Readonly<Record<string, z.ZodType>> = { LocalStorage: localArguments, ...s3Drivers };

/** What is wrong with an argument, or with something in it. */
export interface Complaint {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Whether this version can use the driver at all: a storage-proxy with another one does not start. */
export function hasEngine(driver: string): boolean {
  return Object.hasOwn(FORMS, driver);
}

/** What is wrong with the arguments of a driver. Of one that this version has no engine for, nothing is known. */
export function engineComplaints(driver: string, given: unknown): readonly Complaint[] {
  const form = hasEngine(driver) ? FORMS[driver] : undefined;
  return (form?.safeParse(given).error?.issues ?? []).flatMap(complaintsOf);
}

function complaintsOf(issue: z.core.$ZodIssue): Complaint[] {
  const { path, message } = issue;
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map(key => ({ path: [...path, key], message: 'the engine has no such argument' }));
  return [{ path, message: message.endsWith('received undefined') ? 'is missing' : message }];
}
