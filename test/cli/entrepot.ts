/** Runs the real, compiled command as a child process. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `entrepot ARGS` with nothing in its environment but `env`, and waits until it ends (10 s at most). */
export function entrepot(args: readonly string[], env: Readonly<Record<string, string>> = {}): Outcome {
  const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [main, ...args], {
    env: { ...env },
    encoding: 'utf8',
    timeout: 10_000,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}
