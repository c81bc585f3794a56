/** Which engine a driver name of DISTRIBUTED_STORAGE_CONFIG stands for. */
import type { z } from 'zod';
import type { OwnedLocation } from '../../lib/config/config.js';
import { DRIVERS } from '../../lib/config/drivers.js';
import type { Engine } from './engine.js';
import { LocalStorage, localArguments } from './local.js';
import { s3Drivers } from './s3/arguments.js';
import { S3Engine } from './s3.js';

const ENGINES: Record<string, (key: string, values: unknown) => Engine> = {
  LocalStorage: (key, values) => new LocalStorage(validated(localArguments, key, values)),
  ...Object.fromEntries(
    Object.entries(s3Drivers).map(([driver, form]) => [
      driver,
      (key: string, values: unknown) => new S3Engine(validated(form, key, values)),
    ]),
  ),
};

/** Makes the engine of a location. Throws an Error that names the configuration key and says what is wrong with it. */
export function createEngine(location: OwnedLocation): Engine {
  const key = `DISTRIBUTED_STORAGE_CONFIG.${location.name}`;
  const create = Object.hasOwn(ENGINES, location.driver) ? ENGINES[location.driver] : undefined;
  if (create) return create(key, location.arguments);
  const known = Object.keys(ENGINES).join(', ');
  const reason = DRIVERS.some(name => name === location.driver) ? 'is not supported yet' : 'is not known';
  throw new Error(`${key}: the driver ${location.driver} ${reason}; this version can use ${known}`);
}

/** The arguments, checked. What they hold may be secret, so a complaint names keys and never repeats values. */
function validated<T>(schema: z.ZodType<T>, key: string, values: unknown): T {
  const result = schema.safeParse(values);
  if (result.success) return result.data;
  const complaints = result.error.issues.map(issue => `${[key, ...issue.path].join('.')}: ${issue.message}`);
  throw new Error(complaints.join('\n'));
}
