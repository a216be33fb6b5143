/** What a button of a question carries to the platform and back. A pointer and no more: what it points to is written in delivery. */

/** Telegram takes no more: core.telegram.org/bots/api, "InlineKeyboardButton". */
const MAX_BYTES = 64;
const FORM = /^q:([0-9a-z]{1,11}):([0-9a-z]{1,2}):([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)$/;

export interface ButtonPointer {
  readonly session: string;
  /** of the question's outbound row */
  readonly questionSeq: number;
  /** index into its options */
  readonly option: number;
}

/** undefined: it does not fit (only a seq that no runner reaches makes it so long). */
export function encodeButton({ session, questionSeq, option }: ButtonPointer): string | undefined {
  const data = `q:${questionSeq.toString(36)}:${option.toString(36)}:${session}`;
  return data.length <= MAX_BYTES && FORM.test(data) ? data : undefined;
}

/** undefined: it is no button of ours. Anyone may have written it: it says where to look, not what is there. */
export function decodeButton(data: string): ButtonPointer | undefined {
  const [, seq, option, session] = data.length <= MAX_BYTES ? (FORM.exec(data) ?? []) : [];
  if (seq === undefined || option === undefined || session === undefined) return undefined;
  const questionSeq = Number.parseInt(seq, 36);
  return Number.isSafeInteger(questionSeq) ? { session, questionSeq, option: Number.parseInt(option, 36) } : undefined;
}
