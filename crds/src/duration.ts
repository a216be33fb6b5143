const MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads a field written with duration() or durationBetween(): '1h30m' is 5400000. Throws on anything else, naming the value. */
export const durationMs = (duration: string): number => {
  if (!/^([0-9]{1,6}(ms|s|m|h)){1,4}$/.test(duration))
    throw new Error(`cannot read a duration such as 90s or 1h30m from ${JSON.stringify(duration)}`);
  let total = 0;
  for (const [, digits, unit] of duration.matchAll(/([0-9]+)(ms|s|m|h)/g)) total += Number(digits) * (MS[unit ?? ''] ?? 0);
  return total;
};
