/** A piece of an answer that goes to a named destination. */
export interface Addressed {
  readonly to: string;
  readonly text: string;
}

export interface ParsedAnswer {
  /** for the chat that the turn answers; may be empty */
  readonly plain: string;
  readonly addressed: readonly Addressed[];
  /** something was kept back on purpose, so an empty answer is not a mistake */
  readonly internal: boolean;
}

const OPENING = /<(message)\s+to="([^"<>]*)"\s*>|<(internal)>/g;

/**
 * Splits an answer: `<message to="name">` blocks, `<internal>` kept back, the rest plain. A block that is never closed
 * reaches to the end; inside fenced code nothing is a block.
 */
export function parseAnswer(text: string): ParsedAnswer {
  const fences = fencedRanges(text);
  const addressed: Addressed[] = [];
  let plain = '';
  let internal = false;
  let at = 0;
  OPENING.lastIndex = 0;
  for (let match = OPENING.exec(text); match !== null; match = OPENING.exec(text)) {
    const start = match.index;
    if (start < at || fences.some(([from, to]) => start >= from && start < to)) continue;
    const isMessage = match[1] !== undefined;
    const closing = isMessage ? '</message>' : '</internal>';
    const bodyAt = start + match[0].length;
    const end = text.indexOf(closing, bodyAt);
    const body = text.slice(bodyAt, end === -1 ? undefined : end).trim();
    plain += text.slice(at, start);
    at = end === -1 ? text.length : end + closing.length;
    OPENING.lastIndex = at;
    if (!isMessage) internal = true;
    else if (body !== '') addressed.push({ to: match[2] ?? '', text: body });
  }
  plain += text.slice(at);
  return { plain: plain.replace(/\n{3,}/g, '\n\n').trim(), addressed, internal };
}

function fencedRanges(text: string): readonly (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  let openedAt: number | undefined;
  for (const match of text.matchAll(/^[ \t]*(```|~~~)/gm)) {
    if (openedAt === undefined) openedAt = match.index;
    else {
      ranges.push([openedAt, match.index + match[0].length]);
      openedAt = undefined;
    }
  }
  if (openedAt !== undefined) ranges.push([openedAt, text.length]);
  return ranges;
}
