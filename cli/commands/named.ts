/** Locations that are named on the command line. */
import { EXIT, Failure } from '../exit.js';

/** What the service says of a name that is none, where the command finds out by itself. */
export function unknownLocation(name: string): Failure {
  return new Failure(
    EXIT.failed,
    `there is no location ${name}: 'entrepot status' names those that there are`,
    'LOCATION_UNKNOWN',
  );
}
