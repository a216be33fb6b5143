import type { PlatformDialect } from './dialect.ts';
import { type Paint, renderMarkdown } from './markdown.ts';

/** Slack reads these three as its own (docs.slack.dev, "Escaping text"); unescaped, a model could write <!channel>. */
export const escapeText = (raw: string): string => raw.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
/** A marker only works when nothing but its text stands between: not around spaces or line ends. */
const marked = (marker: string, inner: string): string =>
  inner.replace(/[^\n]+/g, (line) =>
    line.replace(/^(\s*)(.*?)(\s*)$/s, (_, a, b, c) => (b === '' ? line : `${a}${marker}${b}${marker}${c}`)),
  );

const PAINT: Paint = {
  text: escapeText,
  strong: (inner) => marked('*', inner),
  emphasis: (inner) => marked('_', inner),
  strike: (inner) => marked('~', inner),
  code: (raw) => `\`${escapeText(raw)}\``,
  // A fence inside a fence would end it: Slack knows no longer ones.
  codeBlock: (raw) => `\`\`\`\n${escapeText(raw.replaceAll('```', "'''"))}\n\`\`\``,
  link: (inner, url) => {
    const address = escapeText(url).replaceAll('|', '%7C');
    if (!/^(https?|mailto):/i.test(url)) return inner === '' ? address : `${inner} (${address})`;
    return inner === '' || inner === address ? `<${address}>` : `<${address}|${inner.replaceAll('|', '¦').replaceAll('\n', ' ')}>`;
  },
  heading: (inner) => marked('*', inner.replaceAll('*', '')),
  quote: (inner) => inner.replace(/^/gm, '> '),
};

/** Slack's mrkdwn. It cuts at 40,000 characters and asks for at most 4,000. */
export const MRKDWN: PlatformDialect = {
  maxLength: 4_000,
  maxCaption: 4_000,
  // A section block takes no more: docs.slack.dev, "Section block".
  maxBesideButtons: 3_000,
  render: (markdown) => renderMarkdown(markdown, PAINT),
  length: (rendered) => rendered.length,
};
