/** What a statement is called in a trace. */
import type { Attributes } from '../telemetry/span.js';

/** A longer one is cut. */
const MOST_CHARACTERS = 2_000;

/** What it does: `select record_blob`, `update replication`. */
export function statementName(text: string): string {
  const words = text.trimStart().slice(0, 400);
  const operation = /^\w+/.exec(words)?.[0].toLowerCase() ?? 'statement';
  const called = /^select (\w+)\(/i.exec(words)?.[1];
  const table = /\b(?:from|into|update)\s+(?:only\s+)?"?(\w+)/i.exec(words)?.[1];
  return [operation, called ?? table].filter(word => word !== undefined).join(' ');
}

/** The statement itself: its values are no part of it. */
export function statementAttributes(text: string): Attributes {
  return { 'db.system.name': 'postgresql', 'db.query.text': text.slice(0, MOST_CHARACTERS) };
}
