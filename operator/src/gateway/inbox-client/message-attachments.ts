/** The files of a message, on their way to the shard of each agent that gets it. */
import { byteCount, type Channel } from '@dovecote/crds';
import type { inbox } from '@dovecote/proto';
import type { Log } from '../../lib/log.ts';
import type { IncomingAttachment, IncomingMessage, StagedFor } from '../channels/channel.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { ShardInbox } from './inbox-client.ts';
import { AttachmentError, stageAttachment } from './stage-attachment.ts';

export interface Taking {
  readonly channel: Channel;
  readonly event: IncomingMessage;
  readonly agentGroup: string;
  readonly shard: string;
}

export interface TakingDeps {
  readonly inbox: ShardInbox;
  /** all attachments of one message together */
  readonly messageBytes: number;
  readonly retrying: <T>(work: () => Promise<T>) => Promise<T>;
  readonly log: Log;
  readonly metrics: GatewayMetrics;
}

/** An attachment that cannot be had is a sentence in the event, never a reason to lose the message. */
export async function takeAttachments(
  { channel, event, agentGroup, shard }: Taking,
  { inbox: client, messageBytes, retrying, log, metrics }: TakingDeps,
  signal: AbortSignal,
): Promise<{ readonly attachments: readonly inbox.StagedAttachmentRef[]; readonly errors: readonly string[] }> {
  const attachments: inbox.StagedAttachmentRef[] = [];
  const errors: string[] = [];
  let left = messageBytes;
  const largest = byteCount(channel.spec.maxAttachmentBytes);
  const stage = async (attachment: IncomingAttachment): Promise<inbox.StagedAttachmentRef> => {
    if (attachment.staged !== undefined) return stagedRef(attachment, attachment.staged, agentGroup, shard, left);
    return retrying(() => stageAttachment(client, shard, agentGroup, attachment, Math.min(largest, left), signal));
  };
  for (const attachment of event.attachments) {
    try {
      const staged = await stage(attachment).catch((thrown: unknown) => {
        // Platforms hiccup; one more try costs less than a message without its file.
        if (thrown instanceof AttachmentError && !thrown.refused && !signal.aborted) return stage(attachment);
        throw thrown;
      });
      left -= staged.sizeBytes;
      attachments.push(staged);
      metrics.attachments.inc({ channel: channel.metadata.name, outcome: 'taken' });
    } catch (thrown) {
      if (!(thrown instanceof AttachmentError)) throw thrown;
      log.warn({ eventId: event.eventId, err: thrown }, 'attachment was not taken');
      metrics.attachments.inc({ channel: channel.metadata.name, outcome: thrown.refused ? 'refused' : 'failed' });
      errors.push(thrown.message);
    }
  }
  return { attachments, errors };
}

/** One download for several agents. What a slower shard has not taken yet is held in memory, at most the file. */
export function copiesOf(attachment: IncomingAttachment, count: number): readonly IncomingAttachment[] {
  if (count < 2) return [attachment];
  let streams: Promise<ReadableStream<Uint8Array>[]> | undefined;
  const open = async (signal: AbortSignal): Promise<ReadableStream<Uint8Array>[]> => {
    let rest = ReadableStream.from(await attachment.open(signal)) as ReadableStream<Uint8Array>;
    const copies: ReadableStream<Uint8Array>[] = [];
    while (copies.length < count - 1) {
      const [copy, other] = rest.tee();
      copies.push(copy);
      rest = other;
    }
    return [...copies, rest];
  };
  return Array.from({ length: count }, (_, n) => ({
    ...attachment,
    open: async (signal: AbortSignal) => {
      streams ??= open(signal);
      return (await streams)[n] as ReadableStream<Uint8Array>;
    },
  }));
}

function stagedRef(
  { name, mimeType, sizeBytes }: IncomingAttachment,
  staged: readonly StagedFor[],
  agentGroup: string,
  shard: string,
  maxBytes: number,
): inbox.StagedAttachmentRef {
  const found = staged.find((one) => one.agentGroup === agentGroup && one.shard === shard);
  if (found === undefined) throw new AttachmentError(true, `"${name}" was not taken: it was not sent to this agent; send it again`);
  if (sizeBytes > maxBytes) throw new AttachmentError(true, `"${name}" was not taken: the message would be too large with it`);
  return { stagedId: found.stagedId, name, mimeType, sizeBytes };
}
