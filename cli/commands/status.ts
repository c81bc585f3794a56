/** `entrepot status`: every location at a glance. */
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCommand, type Call } from '../admin/command.js';
import { EXIT } from '../exit.js';
import { moment } from '../output/format.js';
import { statusLines } from './status-lines.js';

const EVERY_MS = 2_000;

export const status = adminCommand({
  name: 'status',
  summary: 'Show every location, what is missing there, and whether all is in sync.',
  description: [
    'Counts are exact. HEALTH is what the worker that answers sees of the storage-proxies. MISSING counts',
    'copies that are required and not there, or not verified; UNVERIFIED those that are there, unverified.',
    "For one answer that waits until everything is copied, see 'entrepot watch'.",
  ].join('\n'),
  options: {
    watch: { type: 'boolean', short: 'w', help: `show it anew every ${EVERY_MS / 1000} seconds, until Ctrl-C` },
  },
  exits: { 0: 'everything is in sync', 1: 'something is missing, or it failed' },
  async run(call) {
    if (call.given.watch === true) return follow(call);
    const { screen } = call;
    const answer = await look(call);
    for (const line of statusLines(answer)) screen.line(line);
    return answer.inSync ? EXIT.done : EXIT.failed;
  },
});

async function look({ admin, screen }: Call) {
  const answer = await admin.ask(admin.client.listLocations, {});
  screen.object('status', answer);
  return answer;
}

/** Ends only with the command. */
async function follow(call: Call): Promise<never> {
  const { screen, signal } = call;
  while (true) {
    const lines = [moment(Date.now()), ...statusLines(await look(call))];
    if (screen.kind === 'terminal') screen.redraw(lines);
    else for (const line of [...lines, '']) screen.line(line);
    await sleep(EVERY_MS, undefined, { signal });
  }
}
