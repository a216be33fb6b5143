/** From the one Markdown dialect (CommonMark with tables and strikethrough) to a platform's own, by the platform's Paint. */
import { type MarkedToken, marked, type Token, type Tokens } from 'marked';

/** How a platform writes each thing. Every argument but those of `text` and `code` is already rendered. */
export interface Paint {
  /** Raw text, to be escaped. */
  text(raw: string): string;
  strong(inner: string): string;
  emphasis(inner: string): string;
  strike(inner: string): string;
  code(raw: string): string;
  codeBlock(raw: string, language: string): string;
  link(inner: string, url: string): string;
  heading(inner: string): string;
  quote(inner: string): string;
}

/** Never throws: a text that the parser cannot read (such as one nested thousands deep) is shown as it stands. */
export function renderMarkdown(markdown: string, paint: Paint): string {
  try {
    return blocks(marked.lexer(markdown, { gfm: true }), paint).trimEnd();
  } catch {
    return paint.text(markdown);
  }
}

const known = (tokens: readonly Token[] | undefined): readonly MarkedToken[] => (tokens ?? []) as readonly MarkedToken[];

function blocks(tokens: readonly Token[], paint: Paint): string {
  return known(tokens)
    .map((token) => block(token, paint))
    .filter((text) => text !== '')
    .join('\n\n');
}

function block(token: MarkedToken, paint: Paint): string {
  switch (token.type) {
    case 'heading':
      return paint.heading(inline(token.tokens, paint));
    case 'paragraph':
      return inline(token.tokens, paint);
    case 'code':
      return paint.codeBlock(token.text, /^\S*/.exec(token.lang ?? '')?.[0] ?? '');
    case 'blockquote':
      return paint.quote(blocks(token.tokens, paint));
    case 'list':
      return list(token, paint);
    case 'table':
      return table(token, paint);
    case 'hr':
      return paint.text('———');
    case 'html':
      return paint.text(token.text.trimEnd());
    case 'space':
      return '';
    case 'def': // the link that uses it may stand in another piece of the text
      return paint.text(token.raw.trim());
    default:
      return inline([token], paint);
  }
}

function list({ ordered, start, items }: Tokens.List, paint: Paint): string {
  return items
    .map((item, i) => {
      const bullet = ordered ? `${Number(start === '' ? 1 : start) + i}.` : '•';
      const box = item.task ? (item.checked === true ? '☑ ' : '☐ ') : '';
      const [first = '', ...rest] = known(item.tokens)
        .filter((token) => token.type !== 'checkbox')
        .map((token) => block(token, paint))
        .filter((text) => text !== '');
      return [`${bullet} ${box}${first}`, ...rest.map((text) => indent(text))].join('\n');
    })
    .join('\n');
}

/** Preformatted text is left alone: its spaces are shown. */
function indent(text: string): string {
  return text.includes('```') || text.includes('<pre>') ? text : text.replace(/^/gm, '    ');
}

/** No chat platform has tables in text: columns of equal width in a code block keep them readable. */
function table({ header, rows }: Tokens.Table, paint: Paint): string {
  const cells = [header, ...rows].map((row) => row.map((cell) => inline(cell.tokens, PLAIN).replaceAll('\n', ' ')));
  const widths = header.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(' | ')
      .trimEnd();
  const [head = [], ...body] = cells;
  return paint.codeBlock([line(head), widths.map((width) => '-'.repeat(width)).join('-+-'), ...body.map(line)].join('\n'), '');
}

function inline(tokens: readonly Token[] | undefined, paint: Paint): string {
  return known(tokens)
    .map((token) => {
      switch (token.type) {
        case 'strong':
          return paint.strong(inline(token.tokens, paint));
        case 'em':
          return paint.emphasis(inline(token.tokens, paint));
        case 'del':
          return paint.strike(inline(token.tokens, paint));
        case 'codespan':
          return paint.code(token.text);
        case 'link':
          return paint.link(inline(token.tokens, paint), token.href);
        case 'image':
          return paint.link(paint.text(token.text), token.href);
        case 'br':
          return '\n';
        case 'text':
          return token.tokens === undefined ? paint.text(token.text) : inline(token.tokens, paint);
        case 'escape':
        case 'html':
          return paint.text(token.text);
        default:
          return paint.text(token.raw);
      }
    })
    .join('');
}

/** Text alone, links with their address. */
export const PLAIN: Paint = {
  text: (raw) => raw,
  strong: (inner) => inner,
  emphasis: (inner) => inner,
  strike: (inner) => inner,
  code: (raw) => raw,
  codeBlock: (raw) => raw,
  link: (inner, url) => (inner === '' || inner === url || `mailto:${inner}` === url ? inner || url : `${inner} (${url})`),
  heading: (inner) => inner,
  quote: (inner) => inner.replace(/^/gm, '> '),
};
