/** The owner's side of keeper.ts: starts a program that cannot outlive this process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Kept } from './keeper.js';

export interface KeptProgram {
  /** Its exit code, whenever it ends. */
  readonly exited: Promise<number>;
  isRunning(): boolean;
  /** Asks it to end; does not wait. */
  end(manner: 'fast' | 'immediate' | 'kill'): void;
}

/** Starts a program below a keeper. */
export function keep(program: Kept): KeptProgram {
  const keeper: ChildProcess = spawn(process.execPath, [join(import.meta.dirname, 'keeper.js')], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  let running = true;
  const exited = new Promise<number>(resolve => {
    const settle = (code: number) => {
      running = false;
      resolve(code);
    };
    keeper.once('exit', code => settle(code ?? 1));
    keeper.once('error', () => settle(127));
  });
  // A keeper that is gone is told by `exited`; a failed write to it says nothing more.
  keeper.stdin?.on('error', () => {});
  keeper.stdin?.write(`${JSON.stringify(program)}\n`);
  return {
    exited,
    isRunning: () => running,
    end: manner => void keeper.stdin?.write(`${manner}\n`),
  };
}
