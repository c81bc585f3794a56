/** What a statement costs, whatever else the machine does: the pages that it goes through. */
import type pg from 'pg';
import * as assert from 'uvu/assert';

interface Node {
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
}

/** How much more of the pages may be needed where there is more of everything: the indexes are a level deeper. */
const GROWTH = 1.3;

/** The first run also reads the catalog, and any may tidy an index up, for those that come after it. */
const RUNS = 3;

/** Pages of tables and indexes that a statement goes through, with all that it calls; what it does is undone. */
export async function pagesOf(client: pg.Client, statement: string, values: readonly unknown[] = []): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS; run++) least = Math.min(least, await pagesOnce(client, statement, values));
  return least;
}

/** What the planner may know of the tables, and with how many rows it was told; undefined: never. */
export function plannerKnowledge(few: number, many: number): [known: string, at: number | undefined][] {
  return [
    ['nothing is known of the tables', undefined],
    ['what is known is of a time when they were empty', 0],
    ['what is known is of a time when they were small', few],
    ['all is known', many],
  ];
}

/** Fails for those statements that cost more with many rows than with few: pages by what each does. */
export function assertSameCosts(few: ReadonlyMap<string, number>, many: ReadonlyMap<string, number>): void {
  const grown = [...many].filter(([name, pages]) => pages > GROWTH * (few.get(name) ?? 0));
  assert.equal(grown, [], JSON.stringify([...few]));
}

async function pagesOnce(client: pg.Client, statement: string, values: readonly unknown[]): Promise<number> {
  await client.query('begin');
  try {
    const { rows } = await client.query(`explain (analyze, buffers, format json) ${statement}`, [...values]);
    const { Plan: plan } = rows[0]['QUERY PLAN'][0] as { Plan: Node };
    return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
  } finally {
    await client.query('rollback');
  }
}
