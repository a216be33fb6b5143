/** What a terminal shows of a conversation: below its messages one text that comes and goes, such as the answer as far as it is written. */

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export class TerminalView {
  readonly #write: (text: string) => void;
  readonly #size: TerminalSize;
  #live = '';

  constructor(write: (text: string) => void, size: TerminalSize) {
    this.#write = write;
    this.#size = size;
  }

  /** Stands there until the next call. Empty: nothing does. */
  show(text: string): void {
    const next = this.#tail(printable(text));
    if (next === this.#live) return;
    // A text that only grew is only added to: to write it all again would flicker.
    const grows = this.#live !== '' && next.startsWith(this.#live);
    this.#write(grows ? next.slice(this.#live.length) : `${this.#erased()}${next}`);
    this.#live = next;
  }

  /** Stays for good. */
  print(text: string): void {
    this.#write(`${this.#erased()}${printable(text)}`);
    this.#live = '';
  }

  #erased(): string {
    const up = this.#rowsOf(this.#live) - 1;
    return `${up > 0 ? `\x1b[${up}A` : ''}\r\x1b[J`;
  }

  /** What scrolls out of the screen can be erased no more: of a long text only the end stands there. */
  #tail(text: string): string {
    const lines = text.trimEnd().split('\n');
    let rows = 0;
    let from = lines.length;
    for (; from > 0; from -= 1) {
      rows += this.#rowsOf(lines[from - 1] ?? '');
      if (rows > Math.max(1, this.#size.rows - 2)) break;
    }
    return lines.slice(from).join('\n');
  }

  #rowsOf(text: string): number {
    const columns = Math.max(1, this.#size.columns);
    return text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)), 0);
  }
}

/** An agent's text must not drive the terminal: escape sequences can set titles, fill the clipboard, or fake what was said. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu, (c) => (c === '\n' || c === '\t' ? c : ''));
}

/** Columns, near enough: most scripts from Hangul on, and emoji, take two. */
function widthOf(line: string): number {
  let width = 0;
  for (const character of line) width += character === '\t' ? 8 : (character.codePointAt(0) ?? 0) >= 0x1100 ? 2 : 1;
  return width;
}
