import type { Outgoing } from '../channels/channel.ts';
import type { PlatformDialect } from '../render/dialect.ts';
import { parts } from '../render/parts.ts';
import type { Content } from './content.ts';

/** One platform message of a row, before a file's bytes are put behind it. */
export type Piece =
  | { readonly type: 'send'; readonly outgoing: Exclude<Outgoing, { kind: 'file' }>; readonly more: boolean }
  | { readonly type: 'file'; readonly file: Omit<Extract<Outgoing, { kind: 'file' }>, 'bytes' | 'sizeBytes'>; readonly more: boolean }
  /** There is no such piece: the text is blank (part 0), or shorter than whoever counted before thought. */
  | { readonly type: 'none' };

/**
 * Piece number `part` of a row on a platform. Pure. A text too long for one message goes on in further ones; so does one too long
 * for the message that is edited, or for a file's caption.
 */
export function pieceOf(content: Content, part: number, target: string, dialect: PlatformDialect): Piece {
  switch (content.kind) {
    case 'reaction':
      return part > 0 ? { type: 'none' } : { type: 'send', outgoing: { kind: 'reaction', target, emoji: content.emoji }, more: false };
    case 'text':
    case 'edit': {
      const pieces = parts(content.markdown, dialect);
      const text = pieces[part];
      if (text === undefined) return { type: 'none' };
      const outgoing: Piece & { type: 'send' } = { type: 'send', outgoing: { kind: 'text', text }, more: part + 1 < pieces.length };
      return content.kind === 'edit' && part === 0 ? { ...outgoing, outgoing: { kind: 'edit', target, text } } : outgoing;
    }
    case 'file': {
      const { name, mimeType, markdown } = content;
      const captions = dialect.maxCaption === 0 ? [] : parts(markdown, dialect, dialect.maxCaption);
      const pieces = captions.length === 1 ? [] : parts(markdown, dialect);
      if (part === 0) {
        const caption = captions.length === 1 ? (captions[0] ?? '') : '';
        return { type: 'file', file: { kind: 'file', name, mimeType, caption }, more: pieces.length > 0 };
      }
      const text = pieces[part - 1];
      return text === undefined ? { type: 'none' } : { type: 'send', outgoing: { kind: 'text', text }, more: part < pieces.length };
    }
  }
}
