/**
 * The kinds of values that settings have. Their messages say what is expected and give an example; never what was found.
 * Each describes itself, for the documentation (schema/).
 */
import { z } from 'zod';
import { parseAddress } from './address.js';
import type { Address } from './config.js';
import { formatSize, parseSize } from './size.js';

/** true or false, in any of the words that YAML 1.1 (and so Quay) takes for them. */
export const flag = z
  .unknown()
  .transform((value, context): boolean => {
    if (typeof value === 'boolean') return value;
    const word = typeof value === 'string' ? value.toLowerCase() : '';
    if (['true', 'yes', 'on'].includes(word)) return true;
    if (['false', 'no', 'off'].includes(word)) return false;
    return refuse(context, 'must be true or false');
  })
  .describe('`true` or `false`');

/** A whole number from `minimum` to `maximum`. */
export function wholeNumber(minimum: number, maximum: number) {
  const error = `must be a whole number from ${minimum} to ${maximum}`;
  const form = `a whole number, ${minimum} to ${maximum}`;
  return z.int({ error }).min(minimum, { error }).max(maximum, { error }).describe(form);
}

/** One of a few words. */
export function oneOf<const T extends readonly string[]>(words: T) {
  const form = words.map(word => `\`${word}\``).join(', ');
  return z.enum(words, { error: `must be one of ${words.join(', ')}` }).describe(form);
}

/** A text of at least one character. `example` shows how it may look. */
export function text(example: string) {
  const form = `must be a text, for example ${example}; put a number in quotes`;
  const error = (issue: { readonly input?: unknown }) => (issue.input === undefined ? `is missing; it ${form}` : form);
  return z.string({ error }).min(1, { error }).describe('a text');
}

/** `20G`, `512M`; in bytes. */
export const size = z
  .unknown()
  .transform((value, context): number => {
    const bytes = typeof value === 'string' ? parseSize(value) : undefined;
    return bytes ?? refuse(context, 'must be a whole number above 0 and G or M, for example 20G');
  })
  .describe('a size: a whole number and `G` or `M` (of 1024)');

/** `8M`, or a number of bytes; in bytes, at least `minimum`. */
export function sizeOrBytes(minimum: number) {
  return z
    .unknown()
    .transform((value, context): number => {
      const bytes = typeof value === 'string' ? parseSize(value) : value;
      const message = `must be a number of bytes, or a whole number and G or M, for example 8M; at least ${formatSize(minimum)}`;
      if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < minimum) return refuse(context, message);
      return bytes;
    })
    .describe(`a size, or a number of bytes; at least \`${formatSize(minimum)}\``);
}

/** `host:port` to listen on. */
export const listenAddress = z
  .unknown()
  .transform((value, context): Address => {
    const address = typeof value === 'string' ? parseAddress(value) : undefined;
    return (
      address ??
      refuse(context, "must be host:port, for example '0.0.0.0:8080', or '[::]:8080' with IPv6 (in quotes in a file)")
    );
  })
  .describe('`host:port`');

/** `host:port` to connect to; kept as it is written. */
export const nodeAddress = z
  .unknown()
  .transform((value, context): string => {
    const port = typeof value === 'string' ? parseAddress(value)?.port : undefined;
    if (typeof value === 'string' && port !== undefined && port > 0) return value;
    return refuse(context, "must be host:port, for example 10.0.0.5:7070, or '[fd00::5]:7070' with IPv6 (in quotes)");
  })
  .describe('`host:port`');

/** A list of `host:port` to connect to; a single text is taken apart at commas and spaces (handy in the environment). */
export const nodeAddresses = z
  .unknown()
  .transform((value, context): string[] => {
    const list = typeof value === 'string' ? value.split(/[\s,]+/).filter(part => part !== '') : value;
    const valid = (each: unknown): each is string => typeof each === 'string' && (parseAddress(each)?.port ?? 0) > 0;
    if (Array.isArray(list) && list.every(valid)) return list;
    return refuse(context, 'must be a list of host:port, for example [10.1.0.5:7090, 10.2.0.5:7090]');
  })
  .describe('a list of `host:port`');

/** A list of names; a single text is taken apart at spaces (handy in the environment). */
export const names = z
  .unknown()
  .transform((value, context): string[] => {
    const list = typeof value === 'string' ? splitNames(value) : value;
    if (Array.isArray(list) && list.every(name => typeof name === 'string' && name !== '')) return list;
    return refuse(context, 'must be a list of names of locations, for example [usstorage, eustorage]');
  })
  .describe('a list of names');

/** Names separated by spaces. */
export function splitNames(text: string): string[] {
  return text.split(/\s+/).filter(name => name !== '');
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
