/**
 * Loaded into a process beside its program (`NODE_OPTIONS=--import …`): at SIGUSR2 it collects the garbage, and writes
 * what the process holds then into `ENTREPOT_TEST_PROBE`, a folder. See usage.ts, which asks.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const folder = process.env.ENTREPOT_TEST_PROBE;
setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');
let asked = 0;

async function report(number: number): Promise<void> {
  if (folder === undefined) return;
  // What is given back only after a collection (buffers, finalizers) is gone after the next ones.
  for (let round = 0; round < 4; round++) {
    collect();
    await sleep(20);
  }
  const { heapUsed, external } = process.memoryUsage();
  const held = { heapBytes: heapUsed, externalBytes: external, resources: process.getActiveResourcesInfo() };
  const path = join(folder, `${process.pid}-${number}`);
  writeFileSync(`${path}.new`, JSON.stringify(held));
  renameSync(`${path}.new`, path);
}

process.on('SIGUSR2', () => void report(++asked));
