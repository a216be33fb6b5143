import { describe, expect, test } from '@jest/globals';
import type { Card } from '../channel.ts';
import { cardBlocks, questionBlocks } from './blocks.ts';

const card = (change: Partial<Card> = {}): Card => ({ title: 'Build', text: '', fields: [], links: [], fallback: 'Build', ...change });

describe('blocks', () => {
  test('of a card: header, text, fields in pairs of columns, links; mentions that an agent wrote call nobody', () => {
    const blocks = cardBlocks(
      card({
        text: 'It is **green** <!channel>',
        fields: Array.from({ length: 12 }, (_, i) => ({ label: `L${i}`, value: String(i) })),
        links: [{ label: 'Log', url: 'https://ci.example/?a=1&b=2' }],
      }),
    );
    expect(blocks).toMatchObject([
      { type: 'header', text: { type: 'plain_text', text: 'Build' } },
      { type: 'section', text: { type: 'mrkdwn', text: 'It is *green* &lt;!channel&gt;' } },
      { type: 'section', fields: [{ text: '*L0*\n0' }, ...Array(9).fill(expect.anything())] },
      { type: 'section', fields: [{ text: '*L10*\n10' }, { text: '*L11*\n11' }] },
      { type: 'section', text: { text: '<https://ci.example/?a=1&amp;b=2|Log>' } },
    ]);
  });

  test.each<[string, Partial<Card>]>([
    ['title', { title: 'x'.repeat(151) }],
    ['text', { text: 'x '.repeat(1_501) }],
    ['field', { fields: [{ label: 'a', value: 'x'.repeat(2_000) }] }],
    ['links', { links: Array.from({ length: 20 }, () => ({ label: 'x'.repeat(100), url: `https://x.example/${'y'.repeat(100)}` })) }],
    ['nothing', { title: ' ' }],
  ])('a card with too much (or too little): %s is left to text', (_, change) => {
    expect(cardBlocks(card(change))).toBeUndefined();
  });

  test('of a question: as many rows of buttons as Slack wants, each with a name of its own', () => {
    const blocks = questionBlocks(
      'Which?',
      Array.from({ length: 50 }, (_, i) => ({ label: `L${i}`, data: `d${i}` })),
    );
    const rows = blocks.flatMap((block) => (block.type === 'actions' ? [block.elements] : []));
    expect(rows.map((row) => row.length)).toEqual([25, 25]);
    const names = rows.flat().map((element) => ('action_id' in element ? element.action_id : ''));
    expect(new Set(names).size).toBe(50);
  });
});
