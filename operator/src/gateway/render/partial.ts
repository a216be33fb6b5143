import type { PlatformDialect } from './dialect.ts';
import { parts } from './parts.ts';

/** Behind a text that is not whole yet. */
const MORE = ' …';

/**
 * The beginning of a text that is still being written, as one message: rendered, within its limit, with what is open (such as a code
 * block) closed. Pure. `text` empty: there is nothing to show. `full`: it has grown beyond one message, whose text changes no more.
 */
export function partial(markdown: string, dialect: PlatformDialect): { readonly text: string; readonly full: boolean } {
  const limit = dialect.maxLength - MORE.length;
  // What is rendered is what fits, not all that there is: this is done anew with each change.
  const [first = '', next] = parts(markdown.slice(0, limit * 2), dialect, limit);
  return { text: first === '' ? '' : `${first}${MORE}`, full: next !== undefined };
}
