import type { PlatformDialect } from './dialect.ts';

/** For what shows Markdown itself, such as the web chat. */
export const MARKDOWN_AS_IS: PlatformDialect = {
  maxLength: 1_000_000,
  maxCaption: 1_000_000,
  maxBesideButtons: 1_000_000,
  render: (markdown) => markdown,
  length: (rendered) => rendered.length,
};
