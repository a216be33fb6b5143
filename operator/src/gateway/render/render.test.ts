import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MARKDOWN_AS_IS } from './as-is.ts';
import type { PlatformDialect } from './dialect.ts';
import { PLAIN, renderMarkdown } from './markdown.ts';
import { MRKDWN } from './mrkdwn.ts';
import { parts } from './parts.ts';
import { split } from './split.ts';
import { TELEGRAM_HTML } from './telegram-html.ts';

/** Three tildes would open a fence where a line, or a piece of one, begins: only `fence` below is to do that. */
const word = fc.stringMatching(/^[a-zA-Z0-9äß你😀.,!?&<>*_~|-]{1,30}$/u).map((w) => w.replace(/~{3,}/g, '~'));
const line = fc.array(word, { maxLength: 40 }).map((words) => words.join(' '));
const fence = fc
  .tuple(
    fc.constantFrom('```', '~~~', '````'),
    fc.constantFrom('', 'ts', 'python'),
    fc.array(fc.oneof(line, fc.string({ maxLength: 200 })), { maxLength: 30 }),
  )
  .map(([marker, info, body]) => `${marker}${info}\n${body.join('\n').replace(/[`~]/g, "'")}\n${marker}`);
const table = fc.array(fc.tuple(word, line), { minLength: 1, maxLength: 5 }).map((rows) => {
  const cells = rows.map(([a, b]) => `| ${a.replaceAll('|', '')} | ${b.replaceAll('|', '')} |`);
  return [cells[0], '|---|---|', ...cells.slice(1)].join('\n');
});
const markdown = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: line },
      { weight: 2, arbitrary: fence },
      { weight: 1, arbitrary: table },
      { weight: 1, arbitrary: line.map((l) => `- ${l}`) },
    ),
    { maxLength: 25 },
  )
  .chain((blocks) => fc.constantFrom('\n', '\n\n').map((gap) => blocks.join(gap)));
const limit = fc.integer({ min: 64, max: 500 });

/** Text without fence lines and white space: what a reader would miss. */
const substance = (text: string): string => text.replace(/^[ \t]*(`{3,}|~{3,})[a-z]*[ \t]*$/gm, '').replace(/\s/g, '');
const fenceLines = (text: string): number => [...text.matchAll(/^[ \t]*(`{3,}|~{3,})/gm)].length;

describe('split', () => {
  test('keeps every piece within the limit, non-empty, and loses nothing', () => {
    fc.assert(
      fc.property(markdown, limit, (text, max) => {
        const pieces = split(text, max);
        for (const piece of pieces) {
          expect(piece.length).toBeLessThanOrEqual(max);
          expect(piece.trim()).not.toBe('');
        }
        expect(pieces.map(substance).join('')).toBe(substance(text));
      }),
      { numRuns: 500 },
    );
  });

  test('holds for any text at all, also with lone fences', () => {
    const anything = fc
      .array(fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.constantFrom('\n```', '\n~~~x\n', '\n\n', '\r\n')))
      .map((s) => s.join(''));
    fc.assert(
      fc.property(anything, limit, (text, max) => {
        for (const piece of split(text, max)) expect(piece.length).toBeLessThanOrEqual(max);
      }),
      { numRuns: 500 },
    );
  });

  test('closes in each piece the fences it opens', () => {
    fc.assert(
      fc.property(markdown, limit, (text, max) => {
        for (const piece of split(text, max)) expect(fenceLines(piece) % 2).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  test('gives the same pieces again, so that part 3 is part 3 on every replica', () => {
    fc.assert(fc.property(markdown, limit, (text, max) => expect(split(text, max)).toEqual(split(text, max))));
  });

  test('never cuts a character in two', () => {
    const emoji = '👩‍💻'.repeat(200);
    const pieces = split(emoji, 64);
    expect(pieces.join('')).toBe(emoji);
    for (const piece of pieces) expect(piece.startsWith('👩')).toBe(true);
  });

  test('cuts between paragraphs rather than inside them', () => {
    const paragraph = 'x'.repeat(50);
    expect(split(`${paragraph}\n\n${paragraph}\n\n${paragraph}`, 110)).toEqual([`${paragraph}\n\n${paragraph}`, paragraph]);
  });

  test('cuts at the end of a sentence when a line is too long', () => {
    expect(split(`${'a'.repeat(30)} bb. ${'c'.repeat(40)}`, 64)).toEqual([`${'a'.repeat(30)} bb.`, 'c'.repeat(40)]);
  });

  test('does not cut a fence that fits into one piece', () => {
    const code = `\`\`\`ts\n${'y'.repeat(60)}\n\`\`\``;
    expect(split(`${'x'.repeat(60)}\n${code}\nend`, 100)).toEqual(['x'.repeat(60), `${code}\nend`]);
  });

  test('opens a long fence again with its language', () => {
    const pieces = split(`\`\`\`ts\n${Array.from({ length: 20 }, (_, i) => `line ${i}`).join('\n')}\n\`\`\``, 64);
    expect(pieces.length).toBeGreaterThan(1);
    for (const piece of pieces) {
      expect(piece.startsWith('```ts\n')).toBe(true);
      expect(piece.endsWith('\n```')).toBe(true);
    }
  });

  test('a blank text has no pieces', () => {
    expect(split(' \n\n\t ', 100)).toEqual([]);
  });

  test('a megabyte without any border is cut in less time than a person notices', () => {
    expect(split('x'.repeat(1_000_000), 4_000)).toHaveLength(250);
    expect(split('\n'.repeat(1_000_000), 4_000)).toHaveLength(0);
    expect(split('a '.repeat(300_000), 4_000).length).toBeGreaterThan(100);
  });
});

describe.each<[string, PlatformDialect]>([
  ['mrkdwn', MRKDWN],
  ['telegram-html', TELEGRAM_HTML],
  ['as-is', MARKDOWN_AS_IS],
])('parts in %s', (_, dialect) => {
  test('are within the limit in what the platform counts', () => {
    fc.assert(
      fc.property(markdown, fc.integer({ min: 100, max: 600 }), (text, max) => {
        for (const part of parts(text, dialect, max)) {
          expect(dialect.length(part)).toBeLessThanOrEqual(max);
          expect(part).not.toBe('');
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a text that grows when it is rendered is cut again', () => {
    const text = '& '.repeat(300);
    const all = parts(text, dialect, 300);
    expect(all.join('').replaceAll('&amp;', '&').replace(/\s/g, '')).toBe('&'.repeat(300));
  });

  test('thousands of nested quotes are text, not a crash', () => {
    expect(parts('>'.repeat(20_000), dialect).length).toBeGreaterThan(0);
  });
});

describe('mrkdwn', () => {
  const render = (text: string): string => MRKDWN.render(text);
  test.each([
    ['**bold** and *italic* and ~~gone~~', '*bold* and _italic_ and ~gone~'],
    ['[docs](https://a.example/x?a=1&b=2)', '<https://a.example/x?a=1&amp;b=2|docs>'],
    ['https://a.example', '<https://a.example>'],
    ['a < b & c > d', 'a &lt; b &amp; c &gt; d'],
    ['<!channel> <@U1>', '&lt;!channel&gt; &lt;@U1&gt;'],
    ['# Title', '*Title*'],
    ['- one\n- two', '• one\n• two'],
    ['3. one\n4. two', '3. one\n4. two'],
    ['- [x] done\n- [ ] open', '• ☑ done\n• ☐ open'],
    ['`a<b`', '`a&lt;b`'],
    ['```ts\nlet a = 1 < 2;\n```', '```\nlet a = 1 &lt; 2;\n```'],
    ['> quoted', '> quoted'],
    ['one\ntwo', 'one\ntwo'],
    ['snake_case_name and 2 * 3 * 4', 'snake_case_name and 2 * 3 * 4'],
  ])('%s', (text, expected) => expect(render(text)).toBe(expected));

  test('a table becomes columns in a code block', () => {
    expect(render('| a | b |\n|---|---|\n| 1 | long |')).toBe('```\na | b\n--+-----\n1 | long\n```');
  });
});

describe('telegram html', () => {
  const render = (text: string): string => TELEGRAM_HTML.render(text);
  test.each([
    ['**bold** and *italic* and ~~gone~~', '<b>bold</b> and <i>italic</i> and <s>gone</s>'],
    ['[docs](https://a.example/?q="x")', '<a href="https://a.example/?q=&quot;x&quot;">docs</a>'],
    ['[x](javascript:alert(1))', 'x (javascript:alert(1))'],
    ['<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'],
    ['```ts\na<b\n```', '<pre><code class="language-ts">a&lt;b</code></pre>'],
    ['> a\n>> b', '<blockquote>a\n\nb</blockquote>'],
    ['# **T**', '<b>T</b>'],
  ])('%s', (text, expected) => expect(render(text)).toBe(expected));

  test('whatever comes in, the tags that go out are closed in the order in which they were opened', () => {
    fc.assert(
      fc.property(fc.oneof(markdown, fc.string({ maxLength: 300 })), (text) => {
        const open: string[] = [];
        for (const [, slash, tag] of render(text).matchAll(/<(\/?)([a-z]+)[^>]*>/g)) {
          if (slash === '') open.push(tag ?? '');
          else expect(open.pop()).toBe(tag);
        }
        expect(open).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});

describe('plain', () => {
  test('shows text, and addresses in brackets', () => {
    expect(renderMarkdown('**a** [b](https://c.example)', PLAIN)).toBe('a b (https://c.example)');
  });
});
