import { describe, expect, test } from '@jest/globals';
import { byteCount } from './byte-count.ts';

describe('byteCount', () => {
  test.each<[string | number, number]>([
    ['25Mi', 26_214_400],
    ['1Gi', 2 ** 30],
    ['10M', 1e7],
    ['7', 7],
    [1048576, 1048576],
  ])('%s is %d', (size, bytes) => {
    expect(byteCount(size)).toBe(bytes);
  });
  test.each(['', '1.5Gi', '1 Gi', '-1', '1gi', 1.5])('%j is none', (size) => {
    expect(() => byteCount(size)).toThrow(String(size));
  });
});
