const LENGTH = 500;
const BEFORE = 120;

/** At most 500 characters around the first place where one of the words stands. */
export function snippet(text: string, words: readonly string[]): string {
  if (text.length <= LENGTH) return text;
  // Ends at the first place; all of a long text in lower case would be a copy for each hit.
  const found = words.map((word) => text.search(new RegExp(word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'iu'))).filter((at) => at >= 0);
  const first = found.length === 0 ? 0 : Math.min(...found);
  const start = Math.max(0, Math.min(first - BEFORE, text.length - (LENGTH - 2)));
  const end = start + LENGTH - (start === 0 ? 1 : 2);
  return `${start === 0 ? '' : '…'}${whole(text.slice(start, end))}${end < text.length ? '…' : ''}`;
}

/** Without half a character at either end. */
function whole(text: string): string {
  return text.replace(/^[\uDC00-\uDFFF]/, '').replace(/[\uD800-\uDBFF]$/, '');
}
