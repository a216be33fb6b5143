import { QUANTITY_UNITS } from './quantity-units.ts';

/** Reads a field written with byteSize(): '25Mi' is 26214400. Throws on anything else, naming the value. */
export const byteCount = (size: string | number): number => {
  const [, digits, unit] = /^([0-9]+)(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/.exec(String(size)) ?? [];
  const factor = QUANTITY_UNITS[unit ?? ''];
  if (digits === undefined || factor === undefined)
    throw new Error(`cannot read a size in bytes such as 25Mi from ${JSON.stringify(size)}`);
  return Number(digits) * factor;
};
