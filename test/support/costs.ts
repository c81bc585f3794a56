/** What a statement costs, whatever else the machine does: the pages that it goes through. */
import type pg from 'pg';

interface Node {
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
}

/** The first run also reads the catalog, and any may tidy an index up, for those that come after it. */
const RUNS = 3;

/** Pages of tables and indexes that a statement goes through, with all that it calls; what it does is undone. */
export async function pagesOf(client: pg.Client, statement: string, values: readonly unknown[] = []): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS; run++) least = Math.min(least, await pagesOnce(client, statement, values));
  return least;
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
