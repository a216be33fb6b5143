import type { WebClient } from '@slack/web-api';
import { WebAPIPlatformError } from '@slack/web-api';
import { z } from 'zod';
import type { Settlement, SettleQuestion } from '../channel.ts';
import { METADATA_TYPE } from './deliver.ts';
import { slackEmojiName } from './emoji-name.ts';
import type { SlackSelf } from './events.ts';
import { within } from './web-api.ts';

/** Delivery's clock and Slack's may differ by this much. */
const CLOCK_SKEW_MS = 120_000;
/** Messages looked at; a chat that had more since the first attempt cannot be settled. */
const MAX_PAGES = 10;
const PAGE = 200;

const Seen = z.object({
  ts: z.string(),
  text: z.string().nullish(),
  user: z.string().nullish(),
  bot_id: z.string().nullish(),
  thread_ts: z.string().nullish(),
  files: z.array(z.object({ name: z.string().nullish(), title: z.string().nullish() })).nullish(),
  reactions: z.array(z.object({ name: z.string(), users: z.array(z.string()).nullish() })).nullish(),
  metadata: z.object({ event_type: z.string(), event_payload: z.record(z.string(), z.unknown()) }).nullish(),
});
type Seen = z.infer<typeof Seen>;

/** Reads the chat back. By our key in the metadata; by text and place only where a message of ours carries none. */
export function settle(
  client: WebClient,
  self: SlackSelf,
  { delivery, firstAttemptAtMs }: SettleQuestion,
  signal: AbortSignal,
): Promise<Settlement> {
  return within(signal, async () => {
    const { chat: channel, thread, outgoing, idempotencyKey } = delivery;
    const oldest = Math.max(0, (firstAttemptAtMs - CLOCK_SKEW_MS) / 1000);
    const mine = (message: Seen): boolean => message.user === self.userId || (self.botId !== '' && message.bot_id === self.botId);
    try {
      switch (outgoing.kind) {
        case 'edit':
        case 'reaction': {
          // Both leave the same behind when they are done twice: to do it again is right if the target cannot be read.
          const [target] = await read(client, channel, thread, { oldest: outgoing.target, latest: outgoing.target, inclusive: true });
          if (target?.ts !== outgoing.target) return { type: 'not-sent' };
          const done =
            outgoing.kind === 'edit'
              ? normal(target.text) === normal(outgoing.text)
              : target.reactions?.some(
                  ({ name, users }) => name === slackEmojiName(outgoing.emoji) && users?.includes(self.userId) === true,
                );
          return done === true ? { type: 'sent', platformMessageId: outgoing.target } : { type: 'not-sent' };
        }
        case 'text':
        case 'card':
        case 'question':
        case 'file': {
          const since = (await read(client, channel, thread, { oldest: String(oldest), inclusive: true })).filter(
            (message) => mine(message) && Number(message.ts) >= oldest,
          );
          const keyed = since.find(
            ({ metadata }) => metadata?.event_type === METADATA_TYPE && metadata.event_payload['key'] === idempotencyKey,
          );
          const found = keyed ?? since.find((message) => !message.metadata && looksLike(message, outgoing));
          return found === undefined ? { type: 'not-sent' } : { type: 'sent', platformMessageId: found.ts };
        }
      }
    } catch (thrown) {
      // Slack will not let us read this chat, now or later.
      if (
        thrown instanceof WebAPIPlatformError &&
        ['missing_scope', 'not_in_channel', 'channel_not_found', 'no_permission'].includes(thrown.data.error)
      ) {
        return { type: 'unknowable' };
      }
      return { type: 'try-later' };
    }
  });
}

type Range = { readonly oldest: string; readonly latest?: string; readonly inclusive: boolean };

/** Throws when there is more than can be looked at: "not found" would then be a guess. */
async function read(client: WebClient, channel: string, thread: string, range: Range): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  let cursor = '';
  for (let page = 0; page < MAX_PAGES; page++) {
    const options = { channel, limit: PAGE, include_all_metadata: true, ...range, ...(cursor !== '' && { cursor }) };
    const answer =
      thread === '' ? await client.conversations.history(options) : await client.conversations.replies({ ...options, ts: thread });
    seen.push(...(answer.messages ?? []).map((message) => Seen.parse(message)));
    cursor = answer.response_metadata?.next_cursor ?? '';
    if (answer.has_more !== true || cursor === '') return seen;
  }
  throw new Error(`cannot settle: more than ${MAX_PAGES * PAGE} messages since then`);
}

function looksLike(message: Seen, outgoing: Exclude<SettleQuestion['delivery']['outgoing'], { kind: 'edit' | 'reaction' }>): boolean {
  if (outgoing.kind === 'file') return message.files?.some(({ name, title }) => name === outgoing.name || title === outgoing.name) === true;
  return normal(message.text) === normal(outgoing.text);
}

/** Slack trims, and rewrites addresses into <…>. */
function normal(text: string | null | undefined): string {
  return (text ?? '')
    .replace(/<([^<>|]+)(\|[^<>]*)?>/g, '$1')
    .replace(/\s+/g, ' ')
    .trim();
}
