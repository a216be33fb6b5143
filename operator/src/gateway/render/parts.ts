import type { PlatformDialect } from './dialect.ts';
import { split } from './split.ts';

/** CommonMark with tables and strikethrough. */
export type Markdown = string;

/**
 * One Markdown text as the messages that a platform gets, each rendered and within its limit. Pure. Blank text has no parts.
 * Rendering can make a text longer (`&` becomes `&amp;`, a table is padded): such a piece is cut again, at half its length.
 */
export function parts(markdown: Markdown, dialect: PlatformDialect, limit: number = dialect.maxLength): readonly string[] {
  return split(markdown, limit).flatMap((piece) => renderWithin(piece, dialect, limit));
}

function renderWithin(piece: string, dialect: PlatformDialect, limit: number): readonly string[] {
  const rendered = dialect.render(piece).trim();
  if (rendered === '') return [];
  if (dialect.length(rendered) <= limit) return [rendered];
  const half = Math.floor(piece.length / 2);
  // Sixty-four characters that do not fit even when rendered alone: the platform's own words for them are cut.
  if (half < 64) return [rendered.slice(0, limit)];
  return split(piece, half).flatMap((smaller) => renderWithin(smaller, dialect, limit));
}
