/** Names inside a shard volume. The only place that spells them; mount points are the Pod builder's business. */
import { join } from 'node:path';

export const INBOUND_DB = 'inbound.db';
export const OUTBOUND_DB = 'outbound.db';
export const HEARTBEAT = 'heartbeat';
export const ATTACHMENTS = 'attachments';
export const OUTBOX = 'outbox';

/** The three folders of a cell, as the process at hand sees them. */
export interface CellPaths {
  /** inbound.db, attachments/<seq>/<name>. Read-only for the runner. */
  readonly in: string;
  /** outbound.db, outbox/<seq>/<name>, heartbeat. */
  readonly out: string;
  /** the session's own files. */
  readonly workspace: string;
}

/** The same three as subPaths of the shard volume, for the Pod builder. */
export function cellSubPaths(session: string): CellPaths {
  return { in: `cells/${session}/in`, out: `cells/${session}/out`, workspace: `cells/${session}/workspace` };
}

export function agentHomeSubPath(agentGroupUid: string): string {
  return `agents/${agentGroupUid}/home`;
}

/** A cell below a shard's root folder. */
export function cellPaths(shardRoot: string, session: string): CellPaths {
  const sub = cellSubPaths(session);
  return { in: join(shardRoot, sub.in), out: join(shardRoot, sub.out), workspace: join(shardRoot, sub.workspace) };
}

const KEEP = /[^\p{L}\p{N}._ ()+@=,-]/gu;

/**
 * A file name that is safe on every side: one path component, no control or reserved characters, no leading dot,
 * at most 120 bytes with its extension kept. Never empty.
 */
export function safeFileName(name: string): string {
  const base = name.normalize('NFC').split(/[/\\]/).at(-1) ?? '';
  const clean = base
    .replace(KEEP, '_')
    .replace(/^[. ]+/, '')
    .replace(/[. ]+$/, '');
  if (clean === '') return 'file';
  const dot = clean.lastIndexOf('.');
  const extension = dot > 0 && clean.length - dot <= 16 ? clean.slice(dot) : '';
  let stem = extension === '' ? clean : clean.slice(0, dot);
  while (Buffer.byteLength(stem + extension) > 120) stem = [...stem].slice(0, -1).join('');
  return stem + extension;
}
