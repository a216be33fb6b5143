import { createHash } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { inbox } from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Random } from '../../lib/random.ts';
import { syncFolder } from '../cells/durable.ts';
import { invalid } from './new-message.ts';

/**
 * Writes one attachment to `staging` as it arrives: one chunk in memory, the next is asked for when it is on its way to the disk.
 * Durable when it returns. Throws StatusError INVALID_ARGUMENT or RESOURCE_EXHAUSTED, or the file system's error; then nothing is left.
 */
export async function stageAttachment(
  parts: AsyncIterable<inbox.StageAttachmentRequest>,
  deps: { readonly staging: string; readonly random: Random; readonly maxBytes: (agentGroup: string) => number },
): Promise<inbox.StageAttachmentResponse> {
  const id = deps.random.id(20);
  const partial = join(deps.staging, `${id}.part`);
  const file = await open(partial, 'wx', 0o660);
  const hash = createHash('sha256');
  let info: inbox.StagedAttachmentInfo | undefined;
  let size = 0;
  try {
    for await (const { part } of parts) {
      if (part?.$case === 'info' && info === undefined) {
        info = part.value;
        const limit = deps.maxBytes(info.agentGroup);
        if (info.sizeBytes > limit) throw tooLarge(info.name, info.sizeBytes, limit);
        continue;
      }
      if (part?.$case !== 'chunk' || info === undefined) throw invalid('part', 'must be info first, then chunks', part?.$case);
      size += part.value.length;
      const limit = info.sizeBytes > 0 ? info.sizeBytes : deps.maxBytes(info.agentGroup);
      if (size > limit) throw tooLarge(info.name, size, limit);
      hash.update(part.value);
      await file.write(part.value);
    }
    if (info === undefined) throw invalid('part', 'must be info first', undefined);
    await file.sync();
    await file.close();
    const sha256 = hash.digest('hex');
    const stagedId = `${id}-${sha256}`;
    await rename(partial, join(deps.staging, stagedId));
    syncFolder(deps.staging);
    return { stagedId, sizeBytes: size, sha256 };
  } catch (e) {
    await file.close().catch(() => {}); // may be closed already; the first error is the one to tell
    await unlink(partial).catch(() => {}); // the sweep removes what is left
    throw e;
  }
}

function tooLarge(name: string, size: number, limit: number): StatusError {
  return new StatusError(
    status.RESOURCE_EXHAUSTED,
    `cannot take ${JSON.stringify(name.slice(0, 200))}: it has ${size} bytes or more, the limit is ${limit}`,
  );
}
