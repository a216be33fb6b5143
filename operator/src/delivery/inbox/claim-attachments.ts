import { linkSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ATTACHMENTS, type InboundAttachment, safeFileName } from '@dovecote/proto';
import { makeFolder, syncFolder } from '../cells/durable.ts';
import { invalid, type StagedRef } from './new-message.ts';

export interface AttachmentLimits {
  /** of the Channel */
  readonly maxBytes: number;
  readonly maxMessageBytes: number;
}

/** "<random>-<sha256>": whoever claims the file knows its checksum without reading it again. It becomes a path: nothing else passes. */
const STAGED_ID = /^[0-9a-z]{20}-([0-9a-f]{64})$/;

export function stagedSha256(stagedId: string): string | undefined {
  return STAGED_ID.exec(stagedId)?.[1];
}

/**
 * Gives the staged files a second name under `attachments/<seq>/`, inside the transaction that writes the row. The staged name
 * stays until `dropStaged`, after the commit: when the commit fails, the next try finds it.
 * Too large ones are left out, each with a sentence for agent and people. Throws StatusError INVALID_ARGUMENT for one that is gone.
 */
export function claimAttachments(
  inFolder: string,
  staging: string,
  seq: number,
  refs: readonly StagedRef[],
  limits: AttachmentLimits,
): { readonly attachments: readonly InboundAttachment[]; readonly errors: readonly string[] } {
  if (refs.length === 0) return { attachments: [], errors: [] };
  const folder = join(inFolder, ATTACHMENTS, String(seq));
  rmSync(folder, { recursive: true, force: true }); // seq has no row, so what lies there is of a commit that never was
  makeFolder(folder);
  const attachments: InboundAttachment[] = [];
  const errors: string[] = [];
  const taken = new Set<string>();
  let total = 0;
  for (const [i, { stagedId, name, mimeType }] of refs.entries()) {
    const sha256 = stagedSha256(stagedId);
    const source = join(staging, stagedId);
    const stat = sha256 === undefined ? undefined : statSync(source, { throwIfNoEntry: false });
    if (sha256 === undefined || stat === undefined)
      throw invalid(`event.attachments[${i}].staged_id`, 'names no staged attachment; stage it again', stagedId);
    if (stat.size > limits.maxBytes) {
      errors.push(`${name}: ${stat.size} bytes is more than the ${limits.maxBytes} that this channel takes`);
      continue;
    }
    if (total + stat.size > limits.maxMessageBytes) {
      errors.push(`${name}: with it the message would hold more than ${limits.maxMessageBytes} bytes`);
      continue;
    }
    total += stat.size;
    const safe = uniqueName(safeFileName(name), taken);
    linkSync(source, join(folder, safe));
    attachments.push({ name, path: `${ATTACHMENTS}/${seq}/${safe}`, mimeType, sizeBytes: stat.size, sha256 });
  }
  syncFolder(folder);
  return { attachments, errors };
}

/** After the commit (or for a duplicate): the staged names are needed no more. */
export function dropStaged(staging: string, refs: readonly StagedRef[]): void {
  for (const { stagedId } of refs) {
    if (stagedSha256(stagedId) === undefined) continue;
    try {
      unlinkSync(join(staging, stagedId));
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
    }
  }
}

/** Two files of one message may have one name, also when they differ only in case: people copy them to other systems. */
function uniqueName(name: string, taken: Set<string>): string {
  const dot = name.lastIndexOf('.');
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ''];
  let unique = name;
  for (let n = 2; taken.has(unique.toLowerCase()); n += 1) unique = `${stem}-${n}${extension}`;
  taken.add(unique.toLowerCase());
  return unique;
}
