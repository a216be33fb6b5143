const MAX_INDENT = 8;

/** Takes a page piece by piece and writes Markdown: knows where a line begins, and how many empty ones are owed. */
export class MarkdownWriter {
  readonly #out: string[] = [];
  readonly #lists: { readonly ordered: boolean; count: number }[] = [];
  #link: { readonly href: string; begun: boolean } | undefined;
  #length = 0;
  #quotes = 0;
  #code = 0;
  /** line ends owed before the next text */
  #owed = 0;
  #space = false;
  /** what stands before the next text: a heading's or an item's mark */
  #lead = '';
  #last = '';

  get length(): number {
    return this.#length;
  }

  text(text: string): void {
    if (this.#code > 0) {
      this.#link = undefined;
      this.#begin();
      this.#put(text.replaceAll('\n', `\n${this.#prefix()}`));
      return;
    }
    const words = text.replace(/[\s\u00A0]+/g, ' ');
    if (words.trim() === '') {
      this.#space ||= words !== '';
      return;
    }
    const apart = (this.#space || words.startsWith(' ')) && this.#owed === 0 && this.#lead === '' && !/[\s(]$|^$/.test(this.#last);
    this.#begin();
    const opens = this.#link?.begun === false;
    if (this.#link !== undefined) this.#link.begun = true;
    this.#put(`${apart ? ' ' : ''}${opens ? '[' : ''}${words.trim()}`);
    this.#space = words.endsWith(' ');
  }

  block(): void {
    this.#owe(2);
  }
  line(): void {
    this.#owe(1);
  }
  heading(level: number): void {
    this.block();
    this.#lead = `${'#'.repeat(level)} `;
  }
  rule(): void {
    this.block();
    this.text('---');
    this.block();
  }
  cell(): void {
    if (this.#owed > 0 || this.#last === '') this.#lead = '| ';
    else this.#put(' | ');
    this.#space = false;
  }

  openList(ordered: boolean): void {
    this.#owe(this.#lists.length > 0 ? 1 : 2);
    this.#lists.push({ ordered, count: 0 });
  }
  item(): void {
    this.#owe(1);
    const list = this.#lists.at(-1);
    if (list !== undefined) list.count += 1;
    const indent = '  '.repeat(Math.min(MAX_INDENT, Math.max(0, this.#lists.length - 1)));
    this.#lead = `${indent}${list?.ordered === true ? `${list.count}.` : '-'} `;
  }
  closeList(): void {
    this.#lists.pop();
    this.#owe(this.#lists.length > 0 ? 1 : 2);
  }

  openQuote(): void {
    this.#quotes = Math.min(MAX_INDENT, this.#quotes + 1);
  }
  closeQuote(): void {
    this.#quotes = Math.max(0, this.#quotes - 1);
  }

  openCode(): void {
    this.block();
    if (this.#code === 0) {
      this.#begin();
      this.#put(`\`\`\`\n${this.#prefix()}`);
    }
    this.#code += 1;
  }
  closeCode(): void {
    this.#code = Math.max(0, this.#code - 1);
    if (this.#code > 0) return;
    this.#put(`${this.#last === '\n' ? '' : '\n'}${this.#prefix()}\`\`\``);
    this.block();
  }

  openLink(href: string): void {
    this.closeLink();
    this.#link = { href, begun: false };
  }
  /** A link without a text is left out. */
  closeLink(): void {
    if (this.#link?.begun === true) this.#put(`](${this.#link.href})`);
    this.#link = undefined;
  }

  finish(): string {
    return this.#out.join('');
  }

  #owe(lines: number): void {
    if (this.#code > 0 || this.#last === '') return;
    this.#owed = Math.max(this.#owed, lines);
    this.#space = false;
    if (this.#lead !== '' && lines === 2) this.#lead = '';
  }

  #begin(): void {
    if (this.#owed > 0) this.#put(`\n${this.#prefix()}`.repeat(this.#owed));
    else if (this.#last === '') this.#put(this.#prefix());
    this.#put(this.#lead);
    this.#owed = 0;
    this.#lead = '';
    this.#space = false;
  }

  #prefix(): string {
    return '> '.repeat(this.#quotes);
  }

  #put(text: string): void {
    if (text === '') return;
    this.#out.push(text);
    this.#length += text.length;
    this.#last = text.slice(-1);
  }
}
