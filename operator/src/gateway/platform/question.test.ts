import { describe, expect, test } from '@jest/globals';
import { MRKDWN } from '../render/mrkdwn.ts';
import { TELEGRAM_HTML } from '../render/telegram-html.ts';
import type { Content } from './content.ts';
import { type Piece, pieceOf } from './piece.ts';
import { answeredQuestion, type Question } from './question.ts';

const KEY = 'helper-abcdefghij/5/0';
const question = (change: Partial<Question> = {}): Content => ({
  kind: 'question',
  question: { title: 'Deploy?', text: 'To *production*.', labels: ['Yes', 'No'], ...change },
});
function pieces(content: Content, dialect = MRKDWN, key = KEY): Piece[] {
  const all: Piece[] = [];
  for (let part = 0; ; part++) {
    const piece = pieceOf(content, part, '', dialect, key);
    all.push(piece);
    if (piece.type !== 'send' || !piece.more) return all;
  }
}
const outgoing = (piece: Piece | undefined) => (piece?.type === 'send' ? piece.outgoing : undefined);

describe('a question', () => {
  test('is one message with its buttons', () => {
    expect(pieces(question()).map(outgoing)).toEqual([
      {
        kind: 'question',
        text: '*Deploy?*\n\nTo _production_.',
        buttons: [
          { label: 'Yes', data: 'q:5:0:helper-abcdefghij' },
          { label: 'No', data: 'q:5:1:helper-abcdefghij' },
        ],
      },
    ]);
  });

  test('is numbered text where there are no buttons, or a button could not say where it belongs', () => {
    const numbered = [{ kind: 'text', text: '*Deploy?*\n\nTo _production_.\n\n1. Yes\n2. No' }];
    expect(pieces(question(), { ...MRKDWN, maxBesideButtons: 0 }).map(outgoing)).toEqual(numbered);
    expect(pieces(question(), MRKDWN, `helper-abcdefghij/${Number.MAX_SAFE_INTEGER}/0`)).toHaveLength(1);
    expect(pieces(question(), MRKDWN, `${'a'.repeat(51)}/${Number.MAX_SAFE_INTEGER}/0`).map(outgoing)).toEqual(numbered);
  });

  test('whose labels do not fit on buttons is read in full above them', () => {
    const long = `${'very '.repeat(30)}long`;
    const [only] = pieces(question({ labels: ['Short', long] })).map(outgoing);
    expect(only).toMatchObject({ kind: 'question', text: expect.stringContaining(`2. ${long}`) });
    if (only?.kind !== 'question') throw new Error('no question');
    expect(only.buttons.map(({ label }) => label)).toEqual(['1. Short', expect.stringMatching(/^2\. very .{60,}…$/)]);
    for (const { label } of only.buttons) expect(label.length).toBeLessThanOrEqual(75);
  });

  test.each([['slack', MRKDWN] as const, ['telegram', TELEGRAM_HTML] as const])(
    'too long for one message of %s goes before its buttons, and nothing is lost',
    (_, dialect) => {
      const text = Array.from({ length: 1_500 }, (__, i) => `word${i}`).join(' ');
      const all = pieces(question({ text }), dialect).map(outgoing);
      expect(all.length).toBeGreaterThan(2);
      expect(all.slice(0, -1).every((one) => one?.kind === 'text')).toBe(true);
      expect(all.at(-1)).toMatchObject({
        kind: 'question',
        text: dialect.render('**Deploy?**'),
        buttons: [{ label: 'Yes' }, { label: 'No' }],
      });
      const said = all.map((one) => (one?.kind === 'text' ? one.text : '')).join(' ');
      expect(said).toContain('word0 ');
      expect(said.match(/word\d+/g)).toHaveLength(1_500);
      expect(pieceOf(question({ text }), all.length, '', dialect, KEY)).toEqual({ type: 'none' });
    },
  );

  test('of buttons alone still says something', () => {
    expect(pieces(question({ title: '', text: ' ' })).map(outgoing)).toMatchObject([{ kind: 'question', text: '1. Yes\n2. No' }]);
  });
});

describe('an answered question', () => {
  const answered = { title: 'Deploy?', text: 'Now.', label: 'Yes', answeredBy: 'Ada' };
  test('says what was chosen and by whom', () => {
    expect(answeredQuestion(answered, MRKDWN)).toBe('*Deploy?*\n\nNow.\n\n✓ *Yes* (Ada)');
    expect(answeredQuestion({ ...answered, answeredBy: '' }, TELEGRAM_HTML)).toBe('<b>Deploy?</b>\n\nNow.\n\n✓ <b>Yes</b>');
  });

  test('shows a name as it is, whatever its bearer calls themselves', () => {
    const answeredBy = '*A* [link](https://evil.example) <!channel>';
    expect(answeredQuestion({ ...answered, answeredBy }, MRKDWN)).toContain('(*A* [link](https://evil.example) &lt;!channel&gt;)');
  });

  test('stays one message, however long it was', () => {
    const shown = answeredQuestion({ ...answered, text: 'x '.repeat(5_000) }, MRKDWN);
    expect(shown).toBe('*Deploy?*\n\n✓ *Yes* (Ada)');
  });
});
