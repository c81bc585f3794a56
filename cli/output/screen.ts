/**
 * Where a command's results and progress go.
 *
 * On a terminal progress is a few lines at the bottom, drawn anew in place, and results scroll by above them. In a pipe or a
 * file results are lines as well, and progress is a line now and then. With `--json` there is one object a line, nothing
 * else, and all progress.
 */
import type { Output } from '../io.js';
import { plain } from './format.js';

/** One bar of progress. */
export interface Bar {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  /** What is said beside it. */
  readonly text: string;
}

const REDRAW_MS = 100;
/** How often progress is told where it cannot be drawn in place. */
const TELL_MS = 5_000;
const CELLS = 24;

export class Screen {
  readonly kind: 'terminal' | 'plain' | 'json';
  readonly #out: Output;
  /** The lines that are drawn at the bottom now. */
  #drawn: readonly string[] = [];
  #latest = Number.NEGATIVE_INFINITY;
  #told = '';

  constructor(out: Output, json: boolean) {
    this.#out = out;
    this.kind = json ? 'json' : out.isTTY ? 'terminal' : 'plain';
  }

  /** A line of the result, for people. */
  line(text: string): void {
    if (this.kind === 'json') return;
    const kept = this.#drawn;
    this.#out.write(`${this.#erasure()}${plain(text)}\n`);
    this.#draw(kept);
  }

  /** Something that happened, for programs. */
  object(event: string, fields: object): void {
    if (this.kind === 'json') this.#out.write(`${JSON.stringify({ event, ...fields })}\n`);
  }

  /** What is going on, in words; on a terminal `bars` are drawn instead, if there are any. */
  progress(text: string, bars: readonly Bar[] = []): void {
    const now = performance.now();
    if (this.kind === 'terminal' && now - this.#latest >= REDRAW_MS) {
      this.#latest = now;
      this.redraw(bars.length > 0 ? drawBars(bars) : [text]);
    }
    if (this.kind === 'plain' && now - this.#latest >= TELL_MS && text !== this.#told) {
      this.#latest = now;
      this.#told = text;
      this.line(text);
    }
  }

  /** Draws lines at the bottom in place of those that are there. Nothing but a terminal has a bottom. */
  redraw(lines: readonly string[]): void {
    if (this.kind !== 'terminal') return;
    this.#out.write(this.#erasure());
    this.#draw(lines.map(plain));
  }

  /** Takes away what is drawn at the bottom. */
  clear(): void {
    this.redraw([]);
  }

  #draw(lines: readonly string[]): void {
    this.#drawn = lines;
    // A line that wraps would be two to the cursor.
    const width = (this.#out.columns || 80) - 1;
    if (lines.length > 0) this.#out.write(lines.map(line => `${line.slice(0, width)}\n`).join(''));
  }

  /** Moves to the first of the drawn lines and deletes from there on. */
  #erasure(): string {
    const lines = this.#drawn.length;
    this.#drawn = [];
    return lines > 0 ? `\u001b[${lines}A\u001b[0J` : '';
  }
}

function drawBars(bars: readonly Bar[]): string[] {
  const width = Math.max(...bars.map(({ label }) => label.length));
  return bars.map(({ label, done, total, text }) => {
    const part = total > 0 ? Math.min(1, done / total) : 1;
    const cells = Math.floor(part * CELLS);
    const percent = `${Math.floor(part * 100)}`.padStart(3);
    return `${label.padEnd(width)}  [${'#'.repeat(cells)}${'.'.repeat(CELLS - cells)}] ${percent} %  ${text}`;
  });
}
