/** `entrepot verify`: a location's store against its records. */
import type { VerifyFinding__Output } from '../../proto/generated/entrepot/admin/v1/VerifyFinding.js';
import type { VerifyLocationRequest } from '../../proto/generated/entrepot/admin/v1/VerifyLocationRequest.js';
import type { VerifyProgress__Output } from '../../proto/generated/entrepot/admin/v1/VerifyProgress.js';
import { adminCommand, numberOf, operandOf } from '../admin/command.js';
import { EXIT } from '../exit.js';
import { bytes, count, counted } from '../output/format.js';
import type { Screen } from '../output/screen.js';

export const verify = adminCommand({
  name: 'verify',
  summary: "Compare a location's store with what is recorded about it.",
  description: [
    'Looks whether every blob is there with its size, and lists objects that nobody refers to; with --digest',
    'the storage-proxy hashes every blob, too. What is missing or corrupt is copied anew from elsewhere.',
    'It can be ended at any time; the same command goes on, unless --restart is given.',
  ].join('\n'),
  operand: 'LOCATION',
  options: {
    digest: { type: 'boolean', help: 'hash every blob, too' },
    sample: { type: 'string', placeholder: 'N', help: 'look at N percent of the blobs only (1 to 99)' },
    restart: { type: 'boolean', help: 'begin anew' },
    'dry-run': { type: 'boolean', help: 'only report; repair nothing' },
  },
  exits: { 0: 'all is as it is recorded', 1: 'something was missing or corrupt, or it failed' },
  check: given => void numberOf(given, 'sample', 1, 99),
  async run({ admin, given, screen }) {
    let last: VerifyProgress__Output | undefined;
    const request: VerifyLocationRequest = {
      location: operandOf(given),
      depth: given.digest === true ? 'VERIFY_DEPTH_DIGEST' : 'VERIFY_DEPTH_SIZE',
      samplePercent: numberOf(given, 'sample', 1, 99) ?? 0,
      restart: given.restart === true,
      dryRun: given['dry-run'] === true,
    };
    // A dry run keeps no record of where it stopped.
    const goOn = request.dryRun ? undefined : () => ({ ...request, restart: false });
    const events = admin.follow(admin.client.verifyLocation, request, goOn);
    for await (const { progress, finding } of events) {
      if (finding) showFinding(screen, 'finding', finding);
      if (progress) {
        screen.object('progress', progress);
        last = progress;
        const { blobsDone, blobsTotal, missing, corrupt } = progress;
        const text = `${count(blobsDone)} of ${counted(blobsTotal, 'blob')}, ${count(missing)} missing, ${count(corrupt)} corrupt`;
        screen.progress(text, [{ label: 'verify', done: blobsDone, total: blobsTotal, text }]);
      }
    }
    screen.clear();
    if (last) showResult(screen, last);
    return last && last.missing + last.corrupt === 0 ? EXIT.done : EXIT.failed;
  },
});

/** What a verification or an adoption has found, as a line and as an object. */
export function showFinding(screen: Screen, event: string, finding: VerifyFinding__Output): void {
  const { kind, digest, size, detail } = finding;
  screen.object(event, finding);
  const word = kind.replace('FINDING_KIND_', '').toLowerCase();
  screen.line(`${word} ${digest} (${bytes(size)})${detail ? `: ${detail}` : ''}`);
}

function showResult(screen: Screen, result: VerifyProgress__Output): void {
  const { blobsDone, bytesHashed, missing, corrupt, newlyVerified, unreferenced } = result;
  const hashed = bytesHashed > 0 ? ` (${bytes(bytesHashed)} hashed)` : '';
  screen.line(
    `${counted(blobsDone, 'blob')} looked at${hashed}: ${count(missing)} missing, ${count(corrupt)} corrupt, ${count(newlyVerified)} newly verified.`,
  );
  if (unreferenced > 0) screen.line(`${counted(unreferenced, 'object')} that nobody refers to.`);
}
