/** Which engine a driver name of DISTRIBUTED_STORAGE_CONFIG stands for. */
import type { OwnedLocation } from '../../lib/config/config.js';
import { DRIVERS } from '../../lib/config/drivers.js';
import { engineComplaints } from '../../lib/config/engines/engines.js';
import { localArguments } from '../../lib/config/engines/local.js';
import { s3Drivers } from '../../lib/config/engines/s3.js';
import type { Engine } from './engine.js';
import { LocalStorage } from './local.js';
import { S3Engine } from './s3.js';

const ENGINES: Readonly<Record<string, (values: unknown) => Engine>> = {
  LocalStorage: values => new LocalStorage(localArguments.parse(values)),
  ...Object.fromEntries(
    Object.entries(s3Drivers).map(([driver, form]) => [driver, (values: unknown) => new S3Engine(form.parse(values))]),
  ),
};

/** Makes the engine of a location. Throws an Error that names the configuration key and says what is wrong with it. */
export function createEngine({ name, driver, arguments: values }: OwnedLocation): Engine {
  const key = `DISTRIBUTED_STORAGE_CONFIG.${name}`;
  const create = Object.hasOwn(ENGINES, driver) ? ENGINES[driver] : undefined;
  if (!create) {
    const known = Object.keys(ENGINES).join(', ');
    const reason = DRIVERS.some(each => each === driver) ? 'is not supported yet' : 'is not known';
    throw new Error(`${key}: the driver ${driver} ${reason}; this version can use ${known}`);
  }
  const complaints = engineComplaints(driver, values);
  if (complaints.length === 0) return create(values);
  throw new Error(complaints.map(({ path, message }) => `${[key, ...path].join('.')}: ${message}`).join('\n'));
}
