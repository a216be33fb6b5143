import type { KnownMessage } from './known-message.ts';
import { type ToolContext, ToolError } from './tool.ts';

/** The message that an edit or a reaction is about. Throws ToolError when nothing of that number is in a chat. */
export function targetMessage(seq: number, context: Pick<ToolContext, 'message'>): Exclude<KnownMessage, { readonly from: 'nobody' }> {
  const message = context.message(seq);
  if (message.from === 'agent' && message.dead) throw new ToolError(`Message ${seq} never reached its chat.`);
  if (message.from !== 'nobody') return message;
  const recent = message.recent.map(({ seq: own, text }) => `${own} (${JSON.stringify(text.slice(0, 60))})`);
  throw new ToolError(
    `There is no message ${seq} in a chat. Others' messages have the id in their element.` +
      (recent.length === 0 ? '' : ` Your last ones, newest first: ${recent.join(', ')}.`),
  );
}
