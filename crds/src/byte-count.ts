const FACTOR: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** Reads a field written with byteSize(): '25Mi' is 26214400. Throws on anything else, naming the value. */
export const byteCount = (size: string | number): number => {
  const [, digits, unit] = /^([0-9]+)(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/.exec(String(size)) ?? [];
  const factor = FACTOR[unit ?? ''];
  if (digits === undefined || factor === undefined)
    throw new Error(`cannot read a size in bytes such as 25Mi from ${JSON.stringify(size)}`);
  return Number(digits) * factor;
};
