/** What a terminal shows of a conversation: below its messages one text that comes and goes, such as the answer as far as it is written. */

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export class TerminalView {
  readonly #write: (text: string) => void;
  readonly #size: () => { readonly columns: number; readonly rows: number };
  #live = '';

  constructor(write: (text: string) => void, size: TerminalSize) {
    this.#write = write;
    // It may be resized at any time; some give themselves no size at all.
    this.#size = () => ({ columns: size.columns > 0 ? size.columns : 80, rows: size.rows > 0 ? size.rows : 24 });
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
    const { columns, rows } = this.#size();
    const room = Math.max(1, rows - 2);
    const lines = text.trimEnd().split('\n');
    let taken = 0;
    let from = lines.length;
    for (; from > 0; from -= 1) {
      taken += this.#rowsOf(lines[from - 1] ?? '');
      if (taken > room) break;
    }
    if (from < lines.length) return lines.slice(from).join('\n');
    // Even its last line is longer: as if each character were a wide one.
    return [...(lines.at(-1) ?? '')].slice(-Math.max(1, Math.floor((room * columns) / 2))).join('');
  }

  #rowsOf(text: string): number {
    const { columns } = this.#size();
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
