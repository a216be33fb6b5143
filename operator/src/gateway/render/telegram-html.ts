import type { PlatformDialect } from './dialect.ts';
import { type Paint, renderMarkdown } from './markdown.ts';

const escapeHtml = (raw: string): string =>
  raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const PAINT: Paint = {
  text: escapeHtml,
  strong: (inner) => `<b>${inner}</b>`,
  emphasis: (inner) => `<i>${inner}</i>`,
  strike: (inner) => `<s>${inner}</s>`,
  code: (raw) => `<code>${escapeHtml(raw)}</code>`,
  codeBlock: (raw, language) =>
    language === ''
      ? `<pre>${escapeHtml(raw)}</pre>`
      : `<pre><code class="language-${escapeHtml(language)}">${escapeHtml(raw)}</code></pre>`,
  link: (inner, url) => {
    const address = escapeHtml(url);
    if (!/^(https?|mailto|tg):/i.test(url)) return inner === '' ? address : `${inner} (${address})`;
    return `<a href="${address}">${inner === '' ? address : inner}</a>`;
  },
  heading: (inner) => `<b>${inner.replace(/<\/?b>/g, '')}</b>`,
  // Telegram refuses a quote inside a quote.
  quote: (inner) => `<blockquote>${inner.replace(/<\/?blockquote>/g, '')}</blockquote>`,
};

/** Telegram's HTML (core.telegram.org/bots/api, "HTML style"). Its limits count what is shown, not the tags. */
export const TELEGRAM_HTML: PlatformDialect = {
  maxLength: 4_096,
  maxCaption: 1_024,
  maxBesideButtons: 4_096,
  render: (markdown) => renderMarkdown(markdown, PAINT),
  length: (rendered) => rendered.replace(/<[^>]*>/g, '').replace(/&(?:amp|lt|gt|quot);/g, '.').length,
};
