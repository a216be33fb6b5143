import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileEngagePattern, ENGAGE_PATTERN } from './engage-pattern.ts';
import { notRE2, re2Problem } from './re2.ts';

const shared = new RegExp(ENGAGE_PATTERN, 'u');
const token = fc.constantFrom(
  ...[
    'a',
    '.',
    '-',
    '/',
    '😀',
    '\\.',
    '\\-',
    '\\d',
    '\\b',
    '\\B',
    '\\p',
    '\\1',
    '^',
    '$',
    '|',
    '(',
    ')',
    '(?:',
    '(?i:',
    '(?=',
    '(?i)',
    '*',
    '+',
    '?',
    '{2}',
    '{2,}',
  ],
  ...[
    '{1,2}?',
    '{3,2}',
    '{200}',
    '{1000}',
    '{',
    '}',
    '[a-z]',
    '[^0-9]',
    '[z-a]',
    '[a\\-\\]]',
    '[😀-😎]',
    '[-a]',
    '[a-]',
    '[\\w-]',
    '[\\d-z]',
    '[]',
    '[^]',
    '[^^]',
    '[',
    ']',
  ],
);

describe('engage patterns', () => {
  test.each([
    ['deploy', 'please deploy now', true],
    ['(?i)^deploy', 'DEPLOY', true],
    ['^deploy', 'DEPLOY', false],
    ['^.$', '😀', true],
    ['\\bon-?call\\b', 'the oncall person', true],
    ['[?!]{2,}$', 'what?!', true],
    ['(?:a|(?i:b))c', 'Bc', true],
  ])('%s in %j: %p', (pattern, text, matches) => {
    expect(shared.test(pattern) && re2Problem(pattern) === undefined).toBe(true);
    expect(compileEngagePattern(pattern).test(text)).toBe(matches);
  });
  test.each([
    '(?=a)',
    '(?<=a)b',
    '(a)\\1',
    '\\p{L}',
    '(?P<n>a)',
    '(?<n>a)',
    'a**',
    'a*+',
    '*a',
    '[[:alpha:]]',
    '[]a]',
    '[^]',
    'a{1001}',
    'a{',
    '}',
    'a(?i)b',
    '\\x41',
    '\\Qa\\E',
    '\\z',
    '^*',
  ])('%s is not shared', (pattern) => {
    expect(shared.test(pattern)).toBe(false);
  });
  test('whatever may be stored compiles', () => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
        const pattern = tokens.join('');
        if (shared.test(pattern) && re2Problem(pattern) === undefined) compileEngagePattern(pattern);
      }),
      { numRuns: 5000 },
    );
  });
  test('a hostile expression over expressions takes no time', () => {
    const started = performance.now();
    for (const pattern of [
      '('.repeat(511),
      `${'a-'.repeat(255)}[`,
      `[${'a-'.repeat(250)}`,
      `[${'\\-'.repeat(250)}`,
      `${'(?:'.repeat(170)}*`,
    ])
      shared.test(pattern);
    expect(performance.now() - started).toBeLessThan(10_000); // each of them would take for ever
  });
});

describe('notRE2', () => {
  test.each(['^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$', '^[^"]+$', '^a{1000}$', '\\.\\[\\]', '[[][\\]]', '^(?:a|b)$'])('%s is RE2', (source) => {
    expect(notRE2(source)).toBeUndefined();
  });
  test.each([
    ['(?=a)', '(?='],
    ['(?<n>a)', '(?<'],
    ['\\1', '\\1'],
    ['\\u0041', '\\u'],
    ['a.b', '.'],
    ['[\\s]', '\\s'],
    ['[^]', '[^'],
    ['[]a]', '[]'],
    ['[[:alpha:]]', '[:'],
    ['a{2,1001}', '{2,1001}'],
    ['(', '('],
  ])('%s is not, at %s', (source, at) => {
    expect(notRE2(source)).toBe(at);
  });
});
