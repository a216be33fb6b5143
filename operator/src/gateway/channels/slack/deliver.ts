import type { KnownBlock, WebClient } from '@slack/web-api';
import { MRKDWN } from '../../render/mrkdwn.ts';
import { parts } from '../../render/parts.ts';
import { type Delivery, type Outcome, type Outgoing, RefusedReason, RetryReason } from '../channel.ts';
import { neverSent } from '../never-sent.ts';
import { cardBlocks, questionBlocks } from './blocks.ts';
import { slackEmojiName } from './emoji-name.ts';
import { fromSlack } from './from-slack.ts';
import { within } from './web-api.ts';

/** Under which `settle` finds our key in a message's metadata. */
export const METADATA_TYPE = 'dovecote_delivery';

type FileDelivery = Delivery<Extract<Outgoing, { kind: 'file' }>>;

/** Slack keeps the blocks of a message whose edit names none, and shows them in place of its text. */
const NO_BLOCKS: KnownBlock[] = [];

/** One message on Slack. Never rejects. */
export function deliver(client: WebClient, delivery: Delivery, signal: AbortSignal): Promise<Outcome> {
  return within(signal, async () => {
    const { chat: channel, thread, idempotencyKey, outgoing } = delivery;
    switch (outgoing.kind) {
      case 'text':
      case 'card':
      case 'question':
        try {
          const { ts } = await client.chat.postMessage({
            channel,
            ...bodyOf(outgoing),
            ...(thread !== '' && { thread_ts: thread }),
            unfurl_links: false,
            metadata: { event_type: METADATA_TYPE, event_payload: { key: idempotencyKey } },
          });
          return delivered(ts);
        } catch (thrown) {
          return fromSlack('post the message', thrown);
        }
      case 'edit':
        try {
          const { ts } = await client.chat.update({ channel, ts: outgoing.target, text: outgoing.text, blocks: NO_BLOCKS });
          return delivered(ts ?? outgoing.target);
        } catch (thrown) {
          return fromSlack('edit the message', thrown);
        }
      case 'reaction': {
        const name = slackEmojiName(outgoing.emoji);
        if (name === undefined) {
          return {
            type: 'refused',
            reason: RefusedReason.Unsupported,
            message: `cannot react on Slack: it has no emoji ${outgoing.emoji}`,
          };
        }
        try {
          await client.reactions.add({ channel, timestamp: outgoing.target, name });
          return delivered(outgoing.target);
        } catch (thrown) {
          const outcome = fromSlack('react to the message', thrown);
          // Ours, from a call whose answer was lost.
          return isAlreadyReacted(thrown) ? delivered(outgoing.target) : outcome;
        }
      }
      case 'file':
        return deliverFile(client, { ...delivery, outgoing }, signal);
    }
  });
}

/** Takes back a message of ours. Never rejects. */
export function remove(client: WebClient, channel: string, ts: string, signal: AbortSignal): Promise<Outcome> {
  return within(signal, async () => {
    try {
      await client.chat.delete({ channel, ts });
      return delivered(ts);
    } catch (thrown) {
      return fromSlack('remove the message', thrown);
    }
  });
}

/** Three calls, of which only the last is seen by people. The bytes pass through without being held. */
async function deliverFile(client: WebClient, { chat, thread, outgoing }: FileDelivery, signal: AbortSignal): Promise<Outcome> {
  const { name, sizeBytes, bytes, caption } = outgoing;
  const failed = (why: string, reason: RetryReason): Outcome => ({
    type: 'retry',
    reason,
    message: `cannot upload the file to Slack: ${why}`,
    afterMs: 0,
    maybeSent: false,
  });
  let uploadUrl: string;
  let fileId: string;
  try {
    const { upload_url = '', file_id = '' } = await client.files.getUploadURLExternal({ filename: name, length: sizeBytes });
    uploadUrl = upload_url;
    fileId = file_id;
  } catch (thrown) {
    return fromSlack('announce the file', thrown, false);
  }
  try {
    const response = await fetch(uploadUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
      body: ReadableStream.from(bytes),
      duplex: 'half',
      signal,
    });
    await response.body?.cancel();
    if (response.status === 429)
      return {
        ...failed('it limits our calls', RetryReason.RateLimited),
        afterMs: Number(response.headers.get('retry-after') ?? 30) * 1000,
      } as Outcome;
    if (!response.ok) return failed(`HTTP ${response.status}`, RetryReason.Unavailable);
  } catch (thrown) {
    return neverSent(thrown)
      ? failed('it cannot be reached', RetryReason.Unreachable)
      : failed('the upload broke off', RetryReason.NoAnswer);
  }
  try {
    const { files } = await client.files.completeUploadExternal({
      files: [{ id: fileId, title: name }],
      channel_id: chat,
      ...(thread !== '' && { thread_ts: thread }),
      ...(caption !== '' && { initial_comment: caption }),
    } as Parameters<WebClient['files']['completeUploadExternal']>[0]);
    // Slack makes the message behind its answer: where it is known, its ts lets people edit and react; the file's id stands for it else.
    return delivered(shareOf(files?.[0], chat) ?? fileId);
  } catch (thrown) {
    return fromSlack('share the file', thrown);
  }
}

function shareOf(file: object | undefined, chat: string): string | undefined {
  const shares =
    file !== undefined && 'shares' in file ? (file.shares as Record<string, Record<string, readonly { readonly ts?: string }[]>>) : {};
  for (const kind of Object.values(shares)) for (const { ts } of kind[chat] ?? []) if (ts !== undefined) return ts;
  return undefined;
}

/** Of a message with blocks the text is what notifications show. */
function bodyOf(outgoing: Extract<Outgoing, { kind: 'text' | 'card' | 'question' }>): { text: string; blocks?: KnownBlock[] } {
  const { text } = outgoing;
  if (outgoing.kind === 'question') return { text, blocks: questionBlocks(text, outgoing.buttons) };
  const blocks = outgoing.kind === 'card' ? cardBlocks(outgoing.card) : undefined;
  if (outgoing.kind === 'text' || blocks === undefined) return { text };
  const [fallback = text] = parts(outgoing.card.fallback, MRKDWN);
  return { text: fallback, blocks };
}

function isAlreadyReacted(thrown: unknown): boolean {
  return thrown instanceof Error && 'data' in thrown && (thrown.data as { error?: unknown }).error === 'already_reacted';
}

function delivered(platformMessageId: string | undefined): Outcome {
  return { type: 'delivered', platformMessageId: platformMessageId ?? '' };
}
