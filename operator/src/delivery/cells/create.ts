/** Making a cell: before any Pod exists, because the kubelet would make a missing folder itself, as root. */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ATTACHMENTS,
  agentHomeSubPath,
  type CellPaths,
  cellPaths,
  INBOUND_DB,
  INBOUND_MIGRATIONS,
  type MetaRow,
  migrate,
  OUTBOX,
} from '@dovecote/proto';
import Sqlite, { type Database } from 'better-sqlite3';
import { growFolders, makeFolder, syncFolder } from './durable.ts';

/** What names a cell. `title` comes later. */
export type NewCell = Omit<MetaRow, 'title'>;

/** A cell as far as its rows are concerned; of one that is being made, `inbound` is in memory. */
export interface CellRows {
  readonly session: string;
  readonly paths: CellPaths;
  readonly meta: MetaRow;
  readonly inbound: Database;
}

/** More rows that a new inbound.db begins with: its projections, its first message. Its folders are there. */
export type Fill = (cell: CellRows) => void;

/**
 * Folders first, then inbound.db whole: it is made in memory and renamed into its place, so that a crash leaves folders without it
 * (no cell yet, finished by the next call) or a cell. An existing one is left as it is. Durable when this returns.
 */
export function makeCell(root: string, cell: NewCell, fill: Fill): void {
  const paths = cellPaths(root, cell.session);
  const file = join(paths.in, INBOUND_DB);
  if (existsSync(file)) return;
  makeFolder(join(root, agentHomeSubPath(cell.agent_group_uid)));
  makeFolder(join(root, 'cells'));
  const grown = growFolders(join(root, 'cells'), [join(paths.in, ATTACHMENTS), join(paths.out, OUTBOX), paths.workspace]);
  const made = `${file}.new`;
  writeFileSync(made, imageOf(cell, paths, fill), { mode: 0o660 });
  // The file first: most file systems write the new folders down with it, and have little left to do for each of them.
  syncFile(made);
  for (const folder of grown) syncFolder(folder);
  renameSync(made, file);
  syncFolder(paths.in);
}

let empty: Buffer | undefined;

/** The bytes of an inbound.db with its meta row. Making one on disk would cost a dozen syncs. */
function imageOf(cell: NewCell, paths: CellPaths, fill: Fill): Buffer {
  empty ??= serialized(new Sqlite(':memory:'), (db) => migrate(db, INBOUND_MIGRATIONS, INBOUND_DB));
  return serialized(new Sqlite(empty), (db) => {
    db.prepare(
      `INSERT INTO meta (id, session, agent_group, agent_group_uid, scope, generation, type, created_at)
       VALUES (1, @session, @agent_group, @agent_group_uid, @scope, @generation, @type, @created_at)`,
    ).run(cell);
    fill({ session: cell.session, paths, meta: { ...cell, title: null }, inbound: db });
  });
}

function serialized(db: Database, write: (db: Database) => void): Buffer {
  try {
    write(db);
    return db.serialize();
  } finally {
    db.close();
  }
}

function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
