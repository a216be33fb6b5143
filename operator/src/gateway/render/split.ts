/**
 * Cuts a long Markdown text into pieces of at most `limit` UTF-16 units, at the most sensible border there is: between blocks, then
 * lines, sentences, words, characters. A code fence that fits into one piece is never cut; one that does not is closed at the end
 * of a piece and opened again in the next. Pure, and so the ledger's "part N" means the same on every replica. Pieces are
 * never empty; a blank text has none. `limit` is at least 64.
 */
export function split(text: string, limit: number): readonly string[] {
  if (limit < 64) throw new RangeError(`cannot split a text into pieces of ${limit}: 64 is the least`);
  const pieces = new Pieces(limit);
  for (const block of blocksOf(text, limit)) {
    if (block.type === 'fence') addFence(pieces, block);
    else addText(pieces, block.text);
  }
  return pieces.end();
}

interface Fence {
  readonly type: 'fence';
  readonly open: string;
  readonly body: readonly string[];
  readonly close: string;
}

/** What does not end with a line end is followed by one when more comes. */
class Pieces {
  readonly limit: number;
  readonly #done: string[] = [];
  #current = '';

  constructor(limit: number) {
    this.limit = limit;
  }

  fits(more: string): boolean {
    return this.#joined(more).trimEnd().length <= this.limit;
  }

  add(more: string): void {
    if (!this.fits(more)) this.cut();
    this.#current = this.#joined(more);
  }

  cut(): void {
    const piece = trimBlankLines(this.#current);
    if (piece !== '') this.#done.push(piece);
    this.#current = '';
  }

  end(): readonly string[] {
    this.cut();
    return this.#done;
  }

  #joined(more: string): string {
    if (this.#current === '') return more.replace(/^(?:[ \t]*\n)+/, '');
    return `${this.#current}${more}`;
  }
}

function addText(pieces: Pieces, text: string): void {
  for (const paragraph of text.match(/(?:[^\n]*\S[^\n]*(?:\n|$))+(?:[ \t]*\n)*|(?:[ \t]*\n)+|[ \t]+$/g) ?? []) {
    if (paragraph.trimEnd().length <= pieces.limit) pieces.add(paragraph);
    else for (const line of paragraph.match(/[^\n]*\n|[^\n]+$/g) ?? []) for (const part of cutLine(line, pieces.limit)) pieces.add(part);
  }
}

function addFence(pieces: Pieces, { open, body, close }: Fence): void {
  const whole = `${open}\n${body.map((line) => `${line}\n`).join('')}${close}\n`;
  if (whole.trimEnd().length <= pieces.limit) {
    pieces.add(whole);
    return;
  }
  const room = pieces.limit - open.length - close.length - 2;
  let held: string[] = [];
  let length = 0;
  const flush = (): void => {
    if (held.length > 0) pieces.add(`${open}\n${held.map((line) => `${line}\n`).join('')}${close}\n`);
    held = [];
    length = 0;
  };
  pieces.cut();
  for (const line of body) {
    for (const part of hardCut(line, room - 1)) {
      if (length + part.length + 1 > room) {
        flush();
        pieces.cut();
      }
      held.push(part);
      length += part.length + 1;
    }
  }
  flush();
}

const FENCE = /^([ \t]*)(`{3,}|~{3,})([^\n]*)$/;

/** Fences apart from everything else. One that is never closed is closed here, so that every piece is whole Markdown. */
function blocksOf(text: string, limit: number): readonly ({ readonly type: 'text'; readonly text: string } | Fence)[] {
  const blocks: ({ type: 'text'; text: string } | Fence)[] = [];
  let plain: string[] = [];
  let fence: { open: string; marker: string; indent: string; body: string[] } | undefined;
  const endPlain = (): void => {
    if (plain.length > 0) blocks.push({ type: 'text', text: plain.map((line) => `${line}\n`).join('') });
    plain = [];
  };
  const endFence = (): void => {
    if (fence !== undefined) blocks.push({ type: 'fence', open: fence.open, body: fence.body, close: `${fence.indent}${fence.marker}` });
    fence = undefined;
  };
  for (const line of text.replaceAll('\r\n', '\n').split('\n')) {
    const [, indent = '', marker = '', info = ''] = FENCE.exec(line) ?? [];
    if (fence !== undefined) {
      if (marker !== '' && marker[0] === fence.marker[0] && marker.length >= fence.marker.length && info.trim() === '') endFence();
      else fence.body.push(line);
      // An opening line that takes most of a piece would leave no room for what it opens: then it is text.
    } else if (marker !== '' && !(marker[0] === '`' && info.includes('`')) && line.length <= limit / 4) {
      endPlain();
      fence = { open: line.trimEnd(), marker, indent, body: [] };
    } else plain.push(line);
  }
  endFence();
  endPlain();
  return blocks;
}

/** A line in parts of at most `limit`: at the end of a sentence or a word in the part's second half, else anywhere. */
function cutLine(line: string, limit: number): readonly string[] {
  const parts: string[] = [];
  let rest = line;
  while (rest.trimEnd().length > limit) {
    const window = rest.slice(0, limit + 1);
    const at = lastBorder(window, /[.!?][)"'”’]?(?=\s)|[。！？]/gu, limit) ?? lastBorder(window, /(?=\s)/gu, limit) ?? safeCut(rest, limit);
    parts.push(rest.slice(0, at));
    rest = rest.slice(at).trimStart();
  }
  if (rest.trim() !== '' || parts.length === 0) parts.push(rest);
  return parts;
}

function lastBorder(window: string, border: RegExp, limit: number): number | undefined {
  let found: number | undefined;
  for (const match of window.matchAll(border)) {
    const end = match.index + match[0].length;
    if (end > limit / 2 && end <= limit) found = end;
  }
  return found;
}

function hardCut(line: string, limit: number): readonly string[] {
  const parts: string[] = [];
  let rest = line;
  while (rest.length > limit) {
    const at = safeCut(rest, limit);
    parts.push(rest.slice(0, at));
    rest = rest.slice(at);
  }
  parts.push(rest);
  return parts;
}

/** Not inside a surrogate pair, nor between a character and what is drawn upon it or joined to it. */
function safeCut(text: string, limit: number): number {
  for (let at = limit; at > limit - 24; at--) {
    const next = String.fromCodePoint(text.codePointAt(at) ?? 0);
    if (/^[\uDC00-\uDFFF]/.test(text.slice(at, at + 1))) continue;
    if (/^(?:\p{M}|\u200D|\uFE0F|[\u{1F3FB}-\u{1F3FF}])/u.test(next) || text[at - 1] === '\u200D') continue;
    return at;
  }
  return /^[\uDC00-\uDFFF]/.test(text.slice(limit, limit + 1)) ? limit - 1 : limit;
}

function trimBlankLines(text: string): string {
  return text.replace(/^(?:[ \t]*\n)+/, '').trimEnd();
}
