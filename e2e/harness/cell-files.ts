/** The files of a shard as they lie on the disk: what a test believes when it asks whether something was lost. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AckRow,
  type CellPaths,
  cellPaths,
  type DeliveredRow,
  type HistoryRow,
  type MessageInRow,
  type MessageOutRow,
} from '@dovecote/proto';
import Sqlite from 'better-sqlite3';

/** What passes by itself while the other side commits or recovers. */
const PASSING = /^SQLITE_(BUSY|READONLY|CANTOPEN)/;
const PATIENCE_MS = 5_000;

export class CellFiles {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Names of all cells, trash not counted. */
  sessions(): string[] {
    const folder = join(this.root, 'cells');
    return existsSync(folder) ? readdirSync(folder).filter((name) => existsSync(join(folder, name, 'in/inbound.db'))) : [];
  }

  /** The session whose scope is `scope`, newest generation first; undefined: none yet. */
  find(scope: string, agent?: string): string | undefined {
    const where = `SELECT session, generation FROM meta WHERE scope = ?${agent === undefined ? '' : ' AND agent_group = ?'}`;
    const found = this.sessions().flatMap((name) =>
      this.inbound<{ session: string; generation: number }>(name, where, ...(agent === undefined ? [scope] : [scope, agent])),
    );
    return found.sort((a, b) => b.generation - a.generation)[0]?.session;
  }

  paths(session: string): CellPaths {
    return cellPaths(this.root, session);
  }

  inbound<T>(session: string, sql: string, ...values: readonly unknown[]): T[] {
    return query<T>(join(this.paths(session).in, 'inbound.db'), sql, values);
  }

  /** Empty while the file is not there. */
  outbound<T>(session: string, sql: string, ...values: readonly unknown[]): T[] {
    const file = join(this.paths(session).out, 'outbound.db');
    return existsSync(file) ? query<T>(file, sql, values) : [];
  }

  messages(session: string): MessageInRow[] {
    return this.inbound(session, 'SELECT * FROM messages_in ORDER BY seq');
  }
  ledger(session: string): DeliveredRow[] {
    return this.inbound(session, 'SELECT * FROM delivered ORDER BY seq');
  }
  acks(session: string): AckRow[] {
    return this.outbound(session, 'SELECT * FROM acks ORDER BY in_seq');
  }
  written(session: string): MessageOutRow[] {
    return this.outbound(session, 'SELECT * FROM messages_out ORDER BY seq');
  }
  /** The transcript: titles and summaries stand beside it. */
  history(session: string): HistoryRow[] {
    return this.outbound(session, 'SELECT h.* FROM history h JOIN turns t ON t.id = h.turn_id ORDER BY h.id');
  }

  /** `ok` of every file of every cell, or the first complaint. */
  integrity(): string {
    for (const session of this.sessions()) {
      for (const rows of [this.inbound, this.outbound]) {
        const complaint = rows.call(this, session, 'PRAGMA integrity_check').find((row) => Object.values(row as object)[0] !== 'ok');
        if (complaint !== undefined) return `${session}: ${JSON.stringify(complaint)}`;
      }
    }
    return 'ok';
  }
}

function query<T>(file: string, sql: string, values: readonly unknown[]): T[] {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      const db = new Sqlite(file, { readonly: true, fileMustExist: true, timeout: 2_000 });
      try {
        return db.prepare(sql).all(...values) as T[];
      } finally {
        db.close();
      }
    } catch (e) {
      if (e instanceof Error && e.message.startsWith('no such table')) return []; // the file was made a moment ago
      if (!(e instanceof Sqlite.SqliteError) || !PASSING.test(e.code) || Date.now() > deadline) throw e;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
