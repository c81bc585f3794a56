/** Numbers, times and names as people read them. */

/** `1,234,567`. */
export function count(value: number): string {
  return String(Math.trunc(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 copy`, `2 copies`: `several` stands for any number but one. */
export function counted(value: number, one: string, several = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : several}`;
}

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes in the largest unit (of 1024) that leaves something before the point: `17 B`, `1.5 GiB`. */
export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  let amount = value;
  let unit = '';
  for (const next of UNITS) {
    if (amount < 1023.95) break;
    amount /= 1024;
    unit = next;
  }
  return `${amount.toFixed(amount < 10 ? 1 : 0)} ${unit}`;
}

/** A length of time, not more exact than it needs to be: `250 ms`, `12 s`, `5 min`, `3 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.trunc(ms)} ms`;
  const seconds = Math.trunc(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.trunc(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.trunc(hours / 24)} d`;
}

/** A moment, in UTC: `2026-01-31 12:00:00Z`. */
export function moment(msSince1970: number): string {
  return new Date(msSince1970).toISOString().replace('T', ' ').replace(/\.\d+/, '');
}

/** A text from elsewhere on one line of a terminal: nothing in it moves the cursor or begins another line. */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
