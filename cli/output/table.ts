/** Columns of text. */

export interface Column<Row> {
  readonly title: string;
  /** Numbers stand at the right of their column. */
  readonly right?: boolean;
  readonly cell: (row: Row) => string;
}

/** The lines of a table: the titles, and one line for each row. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map(row => columns.map(({ cell }) => cell(row)))];
  const widths = columns.map((_, index) => Math.max(...cells.map(line => line[index]?.length ?? 0)));
  return cells.map(line =>
    line
      .map((text, index) =>
        columns[index]?.right ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}
