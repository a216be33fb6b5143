import { randomBytes } from 'node:crypto';

/** Randomness as a dependency, so that jitter and names can be repeated in a test. */
export interface Random {
  /** 0 <= x < 1 */
  fraction(): number;
  /** `length` characters of [0-9a-z] */
  id(length: number): string;
}

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz';

export const systemRandom: Random = {
  fraction: () => randomBytes(4).readUInt32BE(0) / 2 ** 32,
  id: (length) => Array.from(randomBytes(length), (byte) => ALPHABET[byte % ALPHABET.length]).join(''),
};
