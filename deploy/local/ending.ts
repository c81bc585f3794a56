/** Everything that tells the launcher to end: the terminal's Ctrl-C, a signal, or the death of whoever started it. */
import { readFileSync } from 'node:fs';

export interface Ending {
  /** Aborted with the reason, a sentence, as soon as somebody tells. */
  readonly signal: AbortSignal;
  /** Called when somebody insists, with a second signal. */
  onInsisting(act: () => void): void;
  /** Stops watching. */
  close(): void;
}

/** npm passes a signal on that the terminal has sent us already; only what comes later than this is a second one. */
const SAME_SIGNAL_MS = 500;

export function watchForEnding(): Ending {
  const abort = new AbortController();
  let toldAt: number | undefined;
  let insist = () => {};
  const tell = (reason: string) => {
    if (toldAt === undefined) {
      toldAt = Date.now();
      abort.abort(reason);
    } else if (Date.now() - toldAt > SAME_SIGNAL_MS) insist();
  };
  const onSignal = (signal: NodeJS.Signals) => tell(signal === 'SIGINT' ? 'Ctrl-C' : signal);
  // Whoever starts it with nohup wants it to stay when the terminal goes; then its output is no terminal.
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', ...(process.stdout.isTTY ? (['SIGHUP'] as const) : [])];
  for (const signal of signals) process.on(signal, onSignal);
  const parentTimer = watchParents(() => {
    if (toldAt === undefined) tell('the process that started this one is gone');
  });
  return {
    signal: abort.signal,
    onInsisting: act => {
      insist = act;
    },
    close: () => {
      clearInterval(parentTimer);
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}

/** Looks each second whether the parent is still the same. Below npm there is a shell between: then npm itself as well. */
function watchParents(onGone: () => void): NodeJS.Timeout {
  const parent = process.ppid;
  const npm = process.env.npm_lifecycle_event === undefined ? undefined : parentOf(parent);
  return setInterval(() => {
    if (process.ppid !== parent || (npm !== undefined && parentOf(parent) !== npm)) onGone();
  }, 1_000);
}

/** The parent of another process, where the system tells. */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
