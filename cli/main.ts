#!/usr/bin/env node
/** The `entrepot` command. */
import { commands } from './commands/all.js';
import { run } from './run.js';

// Who reads our output may stop reading: `entrepot events | head`.
process.stdout.on('error', error => {
  if ('code' in error && error.code === 'EPIPE') process.exit();
  throw error;
});

process.exitCode = await run(commands, process.argv.slice(2), process);
