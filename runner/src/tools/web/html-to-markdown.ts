/** A page's text as Markdown: what a reader sees, without scripts, styles and navigation. */
import { setImmediate as nextTick } from 'node:timers/promises';
import { Parser } from 'htmlparser2';
import { MarkdownWriter } from './markdown-writer.ts';

const CHUNK_CHARS = 32 * 1024;
/** A page made to be slow nests its elements without end. */
const MAX_DEPTH = 1_000;
/** A page's main part stands for all of it when it has so much text. */
const MIN_MAIN_CHARS = 400;

const SKIPPED = new Set(['script', 'style', 'noscript', 'template', 'svg', 'math', 'iframe', 'object', 'nav', 'select', 'head']);
const BLOCKS = new Set(
  'address article aside blockquote body dd details dialog div dl dt fieldset figcaption figure footer form header hr main p pre section summary table tbody thead'.split(
    ' ',
  ),
);

export interface Page {
  readonly title: string;
  readonly markdown: string;
}

/** `base`: the page's address, which its links are relative to. Lets the event loop turn. Throws RangeError for a page nested too deep. */
export async function htmlToMarkdown(html: string, base: URL): Promise<Page> {
  const writer = new MarkdownWriter();
  const mainParts: { readonly from: number; to: number }[] = [];
  let title = '';
  let skipping = '';
  let skipped = 0;
  let inTitle = false;
  let inMain = 0;
  let depth = 0;

  const open = (name: string, attributes: Readonly<Record<string, string>>): void => {
    if (/^h[1-6]$/.test(name)) writer.heading(Number(name[1]));
    else if (BLOCKS.has(name)) writer.block();
    if (name === 'main' || name === 'article') {
      inMain += 1;
      if (inMain === 1) mainParts.push({ from: writer.length, to: -1 });
    }
    switch (name) {
      case 'a': {
        const href = address(attributes['href'], base);
        if (href !== undefined) writer.openLink(href);
        return;
      }
      case 'img':
        if ((attributes['alt'] ?? '') !== '') writer.text(`(picture: ${attributes['alt']})`);
        return;
      case 'ol':
      case 'ul':
        writer.openList(name === 'ol');
        return;
      case 'li':
        writer.item();
        return;
      case 'blockquote':
        writer.openQuote();
        return;
      case 'pre':
        writer.openCode();
        return;
      case 'tr':
        writer.line();
        return;
      case 'td':
      case 'th':
        writer.cell();
        return;
      case 'br':
        writer.line();
        return;
      case 'hr':
        writer.rule();
        return;
      default:
        return;
    }
  };
  const close = (name: string): void => {
    if (name === 'a') writer.closeLink();
    else if (name === 'ol' || name === 'ul') writer.closeList();
    else if (name === 'blockquote') writer.closeQuote();
    else if (name === 'pre') writer.closeCode();
    if (BLOCKS.has(name) || /^h[1-6]$/.test(name)) writer.block();
    if (name !== 'main' && name !== 'article') return;
    inMain -= 1;
    const part = mainParts.at(-1);
    if (inMain === 0 && part !== undefined) part.to = writer.length;
  };

  const parser = new Parser({
    onopentag: (name, attributes) => {
      depth += 1;
      if (depth > MAX_DEPTH) throw new RangeError('the page is nested too deep');
      if (name === 'title' && title === '') inTitle = true;
      if (skipping !== '') {
        if (name === skipping) skipped += 1;
      } else if (SKIPPED.has(name)) {
        skipping = name;
        skipped = 1;
      } else open(name, attributes);
    },
    ontext: (text) => {
      if (inTitle) title += text;
      else if (skipping === '') writer.text(text);
    },
    onclosetag: (name) => {
      depth -= 1;
      if (name === 'title') inTitle = false;
      if (skipping === '') close(name);
      else if (name === skipping) {
        skipped -= 1;
        if (skipped === 0) skipping = '';
      }
    },
  });
  for (let at = 0; at < html.length; at += CHUNK_CHARS) {
    parser.write(html.slice(at, at + CHUNK_CHARS));
    await nextTick();
  }
  parser.end();
  const whole = writer.finish();
  const main = mainParts.map(({ from, to }) => whole.slice(from, to < 0 ? undefined : to).trim()).join('\n\n');
  return { title: title.replace(/\s+/g, ' ').trim(), markdown: main.length >= MIN_MAIN_CHARS ? main : whole.trim() };
}

/** undefined: it leads nowhere else. */
function address(href: string | undefined, base: URL): string | undefined {
  if (href === undefined || href.startsWith('#') || !URL.canParse(href, base.href)) return undefined;
  const url = new URL(href, base);
  return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : undefined;
}
