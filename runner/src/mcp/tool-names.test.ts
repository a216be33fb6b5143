import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toolNames } from './tool-names.ts';

describe('the names of tools', () => {
  test('stay as they are where they can', () => {
    expect([...toolNames('a-b', ['read_file', 'get-sum', 'a.b'])]).toEqual([
      ['a.b', 'mcp__a-b__a_b'],
      ['get-sum', 'mcp__a-b__get-sum'],
      ['read_file', 'mcp__a-b__read_file'],
    ]);
  });

  test('that would be the same, or too long, end in a hash of their own', () => {
    const names = toolNames('house', ['a_b', 'a.b', 'a b', 'x'.repeat(100)]);
    expect(names.get('a_b')).toBe('mcp__house__a_b');
    expect(names.get('a b')).toMatch(/^mcp__house__a_b_[0-9a-f]{8}$/);
    expect(names.get('a.b')).toMatch(/^mcp__house__a_b_[0-9a-f]{8}$/);
    expect(names.get('x'.repeat(100))).toMatch(/^mcp__house__x+_[0-9a-f]{8}$/);
  });

  test('are such as every provider takes, each another, whatever the server calls them', () => {
    const tools = fc.uniqueArray(fc.oneof(fc.string({ minLength: 1, maxLength: 128 }), fc.stringMatching(/^[ab._ -]{1,4}$/)), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/), tools, (server, all) => {
        const names = [...toolNames(server, all).values()];
        expect(new Set(names).size).toBe(all.length);
        for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
      }),
    );
  });
});
