import { describe, expect, test } from '@jest/globals';
import { durationMs } from './duration.ts';

describe('durationMs', () => {
  test.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['10m', 600_000],
    ['1h30m', 5_400_000],
    ['168h', 604_800_000],
    ['0s', 0],
  ])('%s is %d', (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });
  test.each(['', '10', '1 h', '1d', '-5m', 'PT1H', '1.5h', '1h30'])('%j is none', (text) => {
    expect(() => durationMs(text)).toThrow(JSON.stringify(text));
  });
});
