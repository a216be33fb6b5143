import { describe, expect, test } from '@jest/globals';
import { TerminalView } from './terminal-view.ts';

const ESC = '\x1b';
const STEP = new RegExp(`${ESC}\\[(\\d*)A|(${ESC}\\[J|[\\s\\S])`, 'g');

/** What a terminal of this size shows after everything that was written: the escape sequences that the view uses, and no others. */
function screenOf(written: string, columns: number): string[] {
  const lines: string[] = [''];
  let [row, column] = [0, 0];
  for (const [, up, other] of written.matchAll(STEP)) {
    if (up !== undefined && other === undefined) row = Math.max(0, row - Number(up || 1));
    else if (other === '\x1b[J') {
      lines.length = row + 1;
      lines[row] = (lines[row] ?? '').slice(0, column);
    } else if (other === '\r') column = 0;
    else if (other === '\n') [row, column] = [row + 1, 0];
    else {
      if (column === columns) [row, column] = [row + 1, 0];
      lines[row] = `${(lines[row] ?? '').padEnd(column).slice(0, column)}${other}`;
      column += 1;
    }
    lines[row] ??= '';
  }
  return lines;
}

function view(columns = 40, rows = 10): { readonly view: TerminalView; screen(): string[]; written(): string } {
  let written = '';
  const it = new TerminalView(
    (text) => {
      written += text;
    },
    { columns, rows },
  );
  return { view: it, screen: () => screenOf(written, columns), written: () => written };
}

describe('a conversation in a terminal', () => {
  test('a text that grows stands below the messages, and the message takes its place', () => {
    const { view: it, screen } = view();
    it.print('> ');
    it.show('… thinking');
    expect(screen()).toEqual(['… thinking']);
    it.show('One\ntw');
    it.show('One\ntwo');
    expect(screen()).toEqual(['One', 'two']);
    it.print('One\nand a half\n> ');
    expect(screen()).toEqual(['One', 'and a half', '> ']);
  });

  test('a text longer than a line is erased whole', () => {
    const { view: it, screen } = view(10);
    it.print('before\n');
    it.show('x'.repeat(35));
    it.print('after\n');
    expect(screen()).toEqual(['before', 'after', '']);
  });

  test('of a text longer than the screen the end stands there, so that nothing of it is left behind', () => {
    const { view: it, screen } = view(20, 5);
    const text = Array.from({ length: 12 }, (_, n) => `line ${n}`);
    for (let n = 1; n <= 12; n += 1) it.show(text.slice(0, n).join('\n'));
    expect(screen()).toEqual(['line 9', 'line 10', 'line 11']);
    it.print(`${text.join('\n')}\n`);
    expect(screen()).toEqual([...text, '']);
  });

  test('of a line longer than the screen the end stands there; a terminal that gives itself no size is taken for a usual one', () => {
    const { view: it, screen } = view(10, 4);
    it.show(`${'x'.repeat(90)}end`);
    expect(screen().join('')).toBe('xxxxxxxend');
    const { view: other, screen: second } = view(0, 0);
    other.show('One');
    expect(second().join('')).toBe('One');
  });

  test('a text that grows is only added to', () => {
    const { view: it, written } = view();
    it.show('One');
    const before = written().length;
    it.show('One two');
    expect(written().slice(before)).toBe(' two');
  });

  test('escape sequences of the agent reach no terminal', () => {
    const { view: it, written } = view();
    it.print('a\x1b]0;title\x07b\x9b31mc\r\u202Ed\n');
    expect(written()).toBe('\r\x1b[Ja]0;titleb31mcd\n');
  });
});
