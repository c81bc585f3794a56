/** Takes a process's output apart into lines, keeps the last ones, and picks out those that somebody should see. */

const KEPT_LINES = 12;
const LONGEST = 2_000;

export interface LogLines {
  /** Takes the next piece of output. */
  push(text: string): void;
  /** The last lines, for a message about the process's end. */
  tail(): string[];
}

/** Calls `onComplaint` for each line that is a warning, an error, or no log line at all (a crash's own words). */
export function logLines(onComplaint: (text: string) => void): LogLines {
  let rest = '';
  const last: string[] = [];
  return {
    push: text => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(-LONGEST);
      for (const line of lines.filter(one => one.trim() !== '')) {
        last.push(line.slice(0, LONGEST));
        if (last.length > KEPT_LINES) last.shift();
        const complaint = complaintOf(line);
        if (complaint !== undefined) onComplaint(complaint);
      }
    },
    tail: () => (rest.trim() === '' ? [...last] : [...last, rest]),
  };
}

const names: Readonly<Record<number, string>> = { 40: 'warning', 50: 'error', 60: 'fatal' };

/** The short form of a line that is worth showing; undefined for the others. */
function complaintOf(line: string): string | undefined {
  const entry = parse(line);
  if (entry === undefined) return line.slice(0, LONGEST);
  const { level, msg, err } = entry;
  const number = typeof level === 'number' ? level : levelNumber(String(level));
  if (number < 40) return undefined;
  const text = typeof msg === 'string' ? msg : line.slice(0, LONGEST);
  const error = typeof err === 'object' && err !== null && 'message' in err ? String(err.message) : '';
  return `${names[number] ?? 'warning'}: ${text}${text.includes(error) ? '' : `: ${error}`}`;
}

function levelNumber(name: string): number {
  return { warn: 40, warning: 40, error: 50, fatal: 60 }[name.toLowerCase()] ?? 30;
}

/** A structured log line, if it is one. */
function parse(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
