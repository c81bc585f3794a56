/** Sizes as the configuration writes them. */

const UNITS = { M: 1024 ** 2, G: 1024 ** 3 } as const;

/**
 * `20G` or `512M` in bytes (of 1024: as the web servers in front of registries count).
 * Undefined if the text has another form, is zero, or is too large to count exactly.
 */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9]+)(G|M)$/.exec(text);
  if (!match) return undefined;
  const bytes = Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes in the same notation if they fit it, for messages. */
export function formatSize(bytes: number): string {
  for (const [unit, size] of [['G', UNITS.G] as const, ['M', UNITS.M] as const]) {
    if (bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes} bytes`;
}
