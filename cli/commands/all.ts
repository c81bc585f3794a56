/** All commands, in the order of `entrepot --help`. */
import type { Command } from '../command.js';
import { adopt } from './adopt.js';
import { backfill } from './backfill.js';
import { certsInit, certsIssue } from './certs.js';
import { configCheck } from './config-check.js';
import { configKeys } from './config-keys.js';
import { limits, pause, resume, retry } from './copying.js';
import { events } from './events.js';
import { health } from './health.js';
import { image } from './image.js';
import { migrate } from './migrate.js';
import { mode, namespace, namespaces } from './registry.js';
import { removeLocation } from './removelocation.js';
import { status } from './status.js';
import { usersCheck } from './users-check.js';
import { usersHash } from './users-hash.js';
import { verify } from './verify.js';
import { watch } from './watch.js';

export const commands: readonly Command[] = [
  configCheck,
  configKeys,
  migrate,
  usersHash,
  usersCheck,
  certsInit,
  certsIssue,
  health,
  status,
  watch,
  image,
  events,
  backfill,
  retry,
  pause,
  resume,
  limits,
  namespace,
  namespaces,
  mode,
  verify,
  adopt,
  removeLocation,
];
