/** Slack's block_actions as our answers. Everything else in a payload is left unread. */
import { z } from 'zod';
import { decodeButton } from '../button.ts';
import type { IncomingAnswer } from '../channel.ts';
import { ACTION_PREFIX } from './blocks.ts';

export const BlockActions = z.looseObject({
  type: z.literal('block_actions'),
  user: z.object({ id: z.string() }),
  channel: z.object({ id: z.string(), name: z.string().nullish() }).nullish(),
  message: z.object({ ts: z.string(), thread_ts: z.string().nullish() }).nullish(),
  actions: z.array(z.object({ action_id: z.string(), value: z.string().nullish(), action_ts: z.string().nullish() })),
});
export type BlockActions = z.infer<typeof BlockActions>;

/** Empty for buttons that are none of ours, and for those in no message of a chat. `nameOf` never rejects. */
export async function pressesOf(
  { user, channel, message, actions }: BlockActions,
  context: { readonly channel: string; readonly nameOf: (user: string) => Promise<string> },
): Promise<readonly IncomingAnswer[]> {
  if (channel === null || channel === undefined || message === null || message === undefined) return [];
  const pressed = actions.flatMap(({ action_id, value, action_ts }) => {
    const pointer = action_id.startsWith(ACTION_PREFIX) ? decodeButton(value ?? '') : undefined;
    return pointer === undefined ? [] : [{ pointer, at: action_ts ?? '0' }];
  });
  if (pressed.length === 0) return [];
  const senderName = await context.nameOf(user.id);
  const thread = message.thread_ts ?? '';
  return pressed.map(({ pointer, at }) => ({
    ...pointer,
    type: 'answer',
    eventId: `${context.channel}/press/${channel.id}/${message.ts}/${user.id}/${at}`,
    chat: channel.id,
    chatClass: channel.id.startsWith('D') ? 'Direct' : 'Group',
    // The first message of a thread bears its own ts there once it has answers.
    thread: thread === message.ts ? '' : thread,
    opensThread: '',
    sender: user.id,
    senderName,
    senderIsBot: false,
    platformMessageId: message.ts,
    sentAtMs: Math.floor(Number(at) * 1000),
    pressId: '',
  }));
}
