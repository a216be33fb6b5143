import { type ButtonPointer, encodeButton } from '../channels/button.ts';
import type { Outgoing } from '../channels/channel.ts';
import type { PlatformDialect } from '../render/dialect.ts';
import { parts } from '../render/parts.ts';
import type { Content } from './content.ts';
import { numberedQuestion, questionPieces } from './question.ts';

/** One platform message of a row, before a file's bytes are put behind it. */
export type Piece =
  | { readonly type: 'send'; readonly outgoing: Exclude<Outgoing, { kind: 'file' }>; readonly more: boolean }
  | { readonly type: 'file'; readonly file: Omit<Extract<Outgoing, { kind: 'file' }>, 'bytes' | 'sizeBytes'>; readonly more: boolean }
  /** There is no such piece: the text is blank (part 0), or shorter than whoever counted before thought. */
  | { readonly type: 'none' };

/**
 * Piece number `part` of a row on a platform. Pure. A text too long for one message goes on in further ones; so does one too long
 * for the message that is edited, for a file's caption, or to stand beside buttons. `key` is the idempotency key, which names the row.
 */
export function pieceOf(content: Content, part: number, target: string, dialect: PlatformDialect, key: string): Piece {
  switch (content.kind) {
    case 'reaction':
      return part > 0 ? { type: 'none' } : { type: 'send', outgoing: { kind: 'reaction', target, emoji: content.emoji }, more: false };
    case 'text':
    case 'edit': {
      const piece = textPiece(content.markdown, part, dialect);
      const { type } = piece;
      // A text with a target takes the place of its preview.
      if (type === 'none' || (content.kind !== 'edit' && target === '') || part > 0) return piece;
      return { ...piece, outgoing: { kind: 'edit', target, text: piece.outgoing.text } };
    }
    case 'card': {
      const piece = textPiece(content.markdown, part, dialect);
      if (piece.type === 'none' || piece.more || part > 0) return piece;
      return { ...piece, outgoing: { kind: 'card', text: piece.outgoing.text, card: content.card } };
    }
    case 'question': {
      const row = rowOf(key);
      const { question } = content;
      // The last option's is the longest.
      if (dialect.maxBesideButtons === 0 || row === undefined || encodeButton({ ...row, option: question.labels.length }) === undefined)
        return textPiece(numberedQuestion(question), part, dialect);
      const { before, beside, buttons } = questionPieces(question, dialect, (option) => encodeButton({ ...row, option }) ?? '');
      const text = before[part];
      if (text !== undefined) return { type: 'send', outgoing: { kind: 'text', text }, more: true };
      if (part > before.length) return { type: 'none' };
      return { type: 'send', outgoing: { kind: 'question', text: beside, buttons }, more: false };
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

type TextPiece = { readonly type: 'send'; readonly outgoing: Extract<Outgoing, { kind: 'text' }>; readonly more: boolean };

function textPiece(markdown: string, part: number, dialect: PlatformDialect): TextPiece | { readonly type: 'none' } {
  const pieces = parts(markdown, dialect);
  const text = pieces[part];
  return text === undefined ? { type: 'none' } : { type: 'send', outgoing: { kind: 'text', text }, more: part + 1 < pieces.length };
}

/** "<session>/<seq>/<part>" */
function rowOf(key: string): Omit<ButtonPointer, 'option'> | undefined {
  const [, session, seq] = /^([^/]+)\/([0-9]+)\/[0-9]+$/.exec(key) ?? [];
  return session === undefined ? undefined : { session, questionSeq: Number(seq) };
}
