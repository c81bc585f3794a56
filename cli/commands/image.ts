/** `entrepot image`: where an image is. */
import { parseDigest } from '../../lib/oci/digest.js';
import { parseRepository, parseTag } from '../../lib/oci/name.js';
import type { ImageInLocation__Output } from '../../proto/generated/entrepot/admin/v1/ImageInLocation.js';
import { adminCommand, operandOf } from '../admin/command.js';
import { UsageError } from '../command.js';
import { EXIT } from '../exit.js';
import { bytes, counted } from '../output/format.js';
import { table } from '../output/table.js';

export const image = adminCommand({
  name: 'image',
  summary: 'Show where an image is, and which of its blobs are missing where, and why.',
  description: 'IMAGE is REPOSITORY:TAG or REPOSITORY@DIGEST, without the name of a host.',
  operand: 'IMAGE',
  options: {},
  exits: { 0: 'it is complete wherever it must be', 1: 'it is not, or there is no such image' },
  check: given => void parseImage(operandOf(given)),
  async run({ admin, given, screen }) {
    const answer = await admin.ask(admin.client.getImageReplication, parseImage(operandOf(given)));
    screen.object('image', answer);
    screen.line(`${answer.digest}: ${counted(answer.blobs, 'blob')}`);
    for (const line of table(COLUMNS, answer.locations)) screen.line(line);
    for (const { location, required, missing, missingCount } of answer.locations) {
      if (!required) continue;
      for (const { digest, size, reason, attempts, heldBy } of missing) {
        const tries = attempts > 0 ? `, ${counted(attempts, 'try', 'tries')}` : '';
        const from = heldBy.length > 0 ? `held by ${heldBy.join(', ')}` : 'held by nobody';
        screen.line(`${location} lacks ${digest} (${bytes(size)}): ${reason}${tries}; ${from}`);
      }
      if (missingCount > missing.length) screen.line(`${location} lacks ${missingCount - missing.length} more`);
    }
    return answer.locations.every(({ required, complete }) => complete || !required) ? EXIT.done : EXIT.failed;
  },
});

const COLUMNS = [
  { title: 'LOCATION', cell: (row: ImageInLocation__Output) => row.location },
  { title: 'REQUIRED', cell: (row: ImageInLocation__Output) => (row.required ? 'yes' : 'no') },
  {
    title: 'IMAGE',
    cell: (row: ImageInLocation__Output) => (row.complete ? 'complete' : `lacks ${counted(row.missingCount, 'blob')}`),
  },
];

/** `REPOSITORY:TAG` or `REPOSITORY@DIGEST`. Throws a UsageError. */
function parseImage(text: string): { repository: string; reference: string } {
  const at = text.indexOf('@');
  const end = at >= 0 ? at : text.lastIndexOf(':');
  const repository = text.slice(0, Math.max(end, 0));
  const reference = text.slice(end + 1);
  const valid = at >= 0 ? parseDigest(reference) : parseTag(reference);
  if (!valid || !parseRepository(repository))
    throw new UsageError(
      `an image is REPOSITORY:TAG or REPOSITORY@DIGEST, without a host, for example demo/hello:1: ${text}`,
    );
  return { repository, reference };
}
