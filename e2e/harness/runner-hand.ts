/** What a runner would write, by a test's hand: for rows that no tool writes, or not so. Delivery finds them by its poll. */
import { join } from 'node:path';
import type { MessageOutRow } from '@dovecote/proto';
import Sqlite from 'better-sqlite3';
import type { CellFiles } from './cell-files.ts';

export interface HandWritten {
  readonly kind: MessageOutRow['kind'];
  readonly content: object;
}

let count = 0;

/** A row that answers the session's latest message. Its seq. */
export function writeByHand(files: CellFiles, session: string, { kind, content }: HandWritten): number {
  const [last = { seq: 0 }] = files.inbound<{ seq: number }>(
    session,
    'SELECT seq FROM messages_in WHERE channel IS NOT NULL ORDER BY seq DESC LIMIT 1',
  );
  const db = new Sqlite(join(files.paths(session).out, 'outbound.db'), { timeout: 10_000 });
  try {
    count += 1;
    return db
      .transaction(() => {
        const own = (db.prepare('SELECT max(seq) FROM messages_out').pluck().get() as number | null) ?? -1;
        const seq = Math.max(own, last.seq - 1) + 2;
        db.prepare('INSERT INTO messages_out (seq, id, kind, in_reply_to, content, created_at) VALUES (?, ?, ?, ?, ?, ?)').run(
          seq,
          `by-hand/${count}`,
          kind,
          last.seq,
          JSON.stringify(content),
          Date.now(),
        );
        return seq;
      })
      .immediate();
  } finally {
    db.close();
  }
}
