/** How far a removal has got, in words and bars. */
import type { RemoveProgress__Output } from '../../proto/generated/entrepot/admin/v1/RemoveProgress.js';
import { count, counted } from '../output/format.js';
import type { Screen } from '../output/screen.js';

const PHASES: Readonly<Record<string, string>> = {
  REMOVE_PHASE_DRAINING: 'draining',
  REMOVE_PHASE_DELETING_PLACEMENTS: 'deleting records',
  REMOVE_PHASE_DELETING_OBJECTS: 'deleting objects',
  REMOVE_PHASE_DONE: 'done',
};

export class Removal {
  readonly #screen: Screen;
  /** What there was at most of what each phase takes away: the whole of its bar. */
  readonly #most = { onlyCopies: 0, placements: 0 };

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  progress(now: RemoveProgress__Output, dryRun: boolean): void {
    const { phase, onlyCopies, uploads, placements, waitingFor } = now;
    this.#most.onlyCopies = Math.max(this.#most.onlyCopies, onlyCopies);
    this.#most.placements = Math.max(this.#most.placements, placements);
    const waiting = waitingFor ? `; waiting for ${waitingFor}` : '';
    const copies = `${counted(onlyCopies, 'last copy', 'last copies')} there, ${counted(uploads, 'upload')}`;
    const text = `${PHASES[phase] ?? phase}: ${copies}, ${counted(placements, 'record')}${waiting}`;
    // What a dry run found is its result, and stays.
    if (dryRun) {
      this.#screen.line(text);
      return;
    }
    this.#screen.progress(text, [
      bar('drain', this.#most.onlyCopies, onlyCopies, `${copies}${waiting}`),
      bar('delete', this.#most.placements, placements, `${count(placements)} records left`),
    ]);
  }
}

function bar(label: string, total: number, left: number, text: string) {
  return { label, done: total - left, total, text };
}
