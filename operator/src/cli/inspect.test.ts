import { describe, expect, test } from '@jest/globals';
import { ago, table } from './inspect.ts';

describe('tables of the command line', () => {
  test('columns are as wide as their widest cell, without blanks at the end', () => {
    expect(
      table(
        ['A', 'LONG'],
        [
          ['wider', 'x'],
          ['y', 'z'],
        ],
      ),
    ).toBe('A      LONG\nwider  x\ny      z\n');
  });

  test.each([
    [0, '-'],
    [1_000_000 - 5_000, '5s'],
    [1_000_000 - 300_000, '5m'],
  ])('%d ms is %s', (at, text) => {
    expect(ago(at, 1_000_000)).toBe(text);
  });
});
