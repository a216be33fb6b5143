import type { inbox } from '@dovecote/proto';
import { fromGrpc } from '../../lib/grpc.ts';
import type { IncomingAttachment } from '../channels/channel.ts';
import type { ShardInbox } from './inbox-client.ts';

const CHUNK_BYTES = 256 * 1024;

/** The attachment will not come; the message goes on without it. `message` is the sentence that the agent and the user read. */
export class AttachmentError extends Error {
  override readonly name = 'AttachmentError';
  /** The limits say no, as opposed to the platform that did not give it. */
  readonly refused: boolean;
  constructor(refused: boolean, message: string, options?: ErrorOptions) {
    super(message, options);
    this.refused = refused;
  }
}

/**
 * Streams one attachment from its platform to the disk of the shard: no more than a few chunks of it are in memory, because the
 * next one is read only when delivery has taken the last. Rejects with AttachmentError, or as ShardInbox does.
 */
export async function stageAttachment(
  to: ShardInbox,
  shard: string,
  agentGroup: string,
  attachment: IncomingAttachment,
  maxBytes: number,
  signal: AbortSignal,
): Promise<inbox.StagedAttachmentRef> {
  const { name, mimeType, sizeBytes } = attachment;
  if (sizeBytes > maxBytes)
    throw new AttachmentError(true, `"${name}" was not taken: it has ${mebibytes(sizeBytes)}, and the limit is ${mebibytes(maxBytes)}`);
  const source = await open(attachment, signal);
  const { client, metadata } = await to.stageCall(shard);
  const answer = Promise.withResolvers<inbox.StageAttachmentResponse>();
  const call = client.stageAttachment(metadata, (error, response) => (error === null ? answer.resolve(response) : answer.reject(error)));
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  // Delivery may answer, or the connection break, while we wait for more bytes of a slow platform.
  let ended = false;
  const over = answer.promise.then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  try {
    const write = async (part: inbox.StageAttachmentRequest['part']): Promise<void> => {
      if (ended || call.write({ part })) return;
      await Promise.race([new Promise((resolve) => call.once('drain', resolve)), over]);
    };
    await write({ $case: 'info', value: { agentGroup, name, mimeType, sizeBytes } });
    let sent = 0;
    for await (const bytes of reading(source, name)) {
      sent += bytes.byteLength;
      if (sent > maxBytes)
        throw new AttachmentError(true, `"${name}" was not taken: it is larger than the limit of ${mebibytes(maxBytes)}`);
      for (let at = 0; at < bytes.byteLength && !ended; at += CHUNK_BYTES)
        await write({ $case: 'chunk', value: Buffer.from(bytes.subarray(at, at + CHUNK_BYTES)) });
      if (ended) break;
    }
    call.end();
    const staged = await answer.promise.catch((thrown: unknown) => {
      throw fromGrpc(`stage attachment "${name}" on shard ${shard}`, thrown);
    });
    return { stagedId: staged.stagedId, name, mimeType, sizeBytes: staged.sizeBytes };
  } catch (thrown) {
    call.cancel();
    throw thrown;
  } finally {
    signal.removeEventListener('abort', cancel);
    answer.promise.catch(() => {}); // cancelled: nobody waits for it any more
  }
}

async function open(attachment: IncomingAttachment, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  try {
    return await attachment.open(signal);
  } catch (thrown) {
    signal.throwIfAborted();
    throw notGiven(attachment.name, thrown);
  }
}

async function* reading(source: AsyncIterable<Uint8Array>, name: string): AsyncIterable<Uint8Array> {
  try {
    yield* source;
  } catch (thrown) {
    throw thrown instanceof AttachmentError ? thrown : notGiven(name, thrown);
  }
}

function notGiven(name: string, thrown: unknown): AttachmentError {
  if (thrown instanceof AttachmentError) return thrown;
  return new AttachmentError(
    false,
    `"${name}" was not taken: the platform did not give it (${thrown instanceof Error ? thrown.message : 'no reason given'})`,
    {
      cause: thrown,
    },
  );
}

function mebibytes(bytes: number): string {
  return `${Math.round((bytes / 1024 / 1024) * 10) / 10} MiB`;
}
