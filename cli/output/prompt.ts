/** Asking for a yes. */
import { createInterface } from 'node:readline/promises';
import type { Call } from '../admin/command.js';

/**
 * Asks until the answer is yes or no. The end of the input is a no: so a script that forgot `--yes` changes nothing.
 * The question goes to standard error when standard output is for a program.
 */
export async function confirmed({ io, screen, signal }: Call, question: string): Promise<boolean> {
  const out = screen.kind === 'json' ? io.stderr : io.stdout;
  const lines = createInterface({ input: io.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const stop = () => lines.close();
  signal.addEventListener('abort', stop);
  try {
    out.write(question);
    for await (const line of lines) {
      const answer = line.trim().toLowerCase();
      if (['y', 'ye', 'yes'].includes(answer)) return true;
      if (['n', 'no'].includes(answer)) return false;
      out.write("Please answer 'y' or 'n': ");
    }
    signal.throwIfAborted();
    out.write('\n');
    return false;
  } finally {
    signal.removeEventListener('abort', stop);
    lines.close();
  }
}
