import type { Block, DestinationRow, InboundAttachment, InboundContent, MessageInRow, Quoted, RoutingRow } from '@dovecote/proto';
import { escapeAttribute, escapeText } from './escape.ts';
import { placeName } from './place-name.ts';

/** Characters of one message that the model reads; the rest is cut with a note. */
export const MESSAGE_CHARS = 100_000;

export interface InboundView {
  readonly destinations: readonly DestinationRow[];
  readonly routing: RoutingRow | undefined;
  /** the folder in which attachment paths lie, as tools can open it */
  readonly attachmentsDir: string;
}

/** One inbound row as the model reads it. Rendered once and kept in the transcript, so that the prompt's prefix never changes. */
export function renderInbound(row: MessageInRow, view: InboundView): string {
  const content = JSON.parse(row.content) as Partial<InboundContent>;
  const text = typeof content.text === 'string' ? content.text : row.content;
  const time = new Date(row.created_at).toISOString().replace(/:\d\d\.\d{3}Z$/, 'Z');
  const lines = [
    ...quoted(row),
    escapeText(text.length > MESSAGE_CHARS ? text.slice(0, MESSAGE_CHARS) : text),
    ...(text.length > MESSAGE_CHARS ? [`[cut: ${text.length - MESSAGE_CHARS} more characters]`] : []),
    ...(content.attachments ?? []).map((attachment) => renderAttachment(attachment, view)),
    ...(content.attachmentErrors ?? []).map((error) => `[attachment refused: ${escapeText(error)}]`),
  ].filter((line) => line !== '');
  const attributes: [string, string | undefined][] = [
    ['id', String(row.seq)],
    ['from', row.channel === null ? undefined : placeName(row, view.destinations, view.routing)],
    ['sender', row.sender_name ?? undefined],
    ['time', time],
    ['question', content.answer?.title],
    ['to', content.answer && String(content.answer.questionSeq)],
    ['edited', content.edited === true ? 'true' : undefined],
    ['context', row.trigger === 0 ? 'true' : undefined],
  ];
  const tag = content.answer !== undefined ? 'answer' : row.kind === 'chat' ? 'message' : row.kind === 'on_wake' ? 'system' : row.kind;
  const written = attributes
    .filter((a): a is [string, string] => a[1] !== undefined)
    .map(([name, value]) => ` ${name}="${escapeAttribute(value)}"`);
  return `<${tag}${written.join('')}>${lines.join('\n')}</${tag}>`;
}

function quoted(row: MessageInRow): string[] {
  if (row.reply_to === null) return [];
  const quote = JSON.parse(row.reply_to) as Quoted;
  const id = quote.seq === undefined ? '' : ` id="${quote.seq}"`;
  return [`<quoted_message from="${escapeAttribute(quote.senderName)}"${id}>${escapeText(quote.text)}</quoted_message>`];
}

/** Types of files that models may look at, as their providers can send them. */
const SHOWABLE = /^(?:image\/(?:jpeg|png|gif|webp)|application\/pdf)$/;

/** The files of a row that the model may look at itself, beside being told of them. */
export function attachmentBlocks(row: MessageInRow, view: InboundView): readonly Block[] {
  const { attachments = [] } = JSON.parse(row.content) as Partial<InboundContent>;
  return attachments
    .filter(({ mimeType }) => SHOWABLE.test(mimeType))
    .map(
      (attachment): Block => ({
        type: 'attachment',
        path: shownPath(attachment, view),
        mimeType: attachment.mimeType,
        name: attachment.name,
      }),
    );
}

function renderAttachment(attachment: InboundAttachment, view: InboundView): string {
  return `[attachment: ${escapeText(attachment.name)} (${escapeText(attachment.mimeType)}, ${attachment.sizeBytes} bytes) at ${escapeText(shownPath(attachment, view))}]`;
}

/** The path is delivery's: attachments/<seq>/<safe name>. Tools know the folder under the name shown here. */
function shownPath({ path }: InboundAttachment, view: InboundView): string {
  return path.replace(/^attachments\//, `${view.attachmentsDir}/`);
}

/** What the model is told by the system itself, inside a turn. */
export function renderNote(text: string): string {
  return `<system>${escapeText(text)}</system>`;
}
