/** Making a cell: before any Pod exists, because the kubelet would make a missing folder itself, as root. */
import { join } from 'node:path';
import {
  ATTACHMENTS,
  agentHomeSubPath,
  cellPaths,
  INBOUND_DB,
  type MetaRow,
  OUTBOX,
  openInboundWriter,
} from '@dovecote/proto';
import { makeFolder, syncFolder } from './durable.ts';

/** What names a cell. `title` comes later. */
export type NewCell = Omit<MetaRow, 'title'>;

/**
 * Folders first, inbound.db second, its meta row last: a crash in between leaves a cell that has no meta row, holds no message,
 * and is finished by the next call. Everything is durable when this returns; an existing cell is left as it is.
 */
export function makeCell(root: string, cell: NewCell): void {
  const paths = cellPaths(root, cell.session);
  makeFolder(join(root, agentHomeSubPath(cell.agent_group_uid)));
  for (const folder of [join(paths.in, ATTACHMENTS), join(paths.out, OUTBOX), paths.workspace]) makeFolder(folder);
  const inbound = openInboundWriter(join(paths.in, INBOUND_DB));
  try {
    inbound
      .prepare(
        `INSERT INTO meta (id, session, agent_group, agent_group_uid, scope, generation, type, created_at)
         VALUES (1, @session, @agent_group, @agent_group_uid, @scope, @generation, @type, @created_at) ON CONFLICT DO NOTHING`,
      )
      .run(cell);
  } finally {
    inbound.close();
  }
  syncFolder(paths.in);
}
