/**
 * The full text of one agent's conversations, in a file of its own: what another agent said can never be found in it. A copy of what
 * the cells hold, written lazily (WAL, no sync) and made anew whenever it cannot be read.
 */
import Sqlite, { type Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import { snippet } from './snippet.ts';

const VERSION = 1;
/** The tokenizer knows words by three characters at a time. */
const SHORTEST_INDEXED = 3;

/** One message as it can be found. */
export interface SearchableRow {
  readonly seq: number;
  readonly own: boolean;
  readonly sender: string;
  readonly text: string;
  /** ms since 1970 */
  readonly at: number;
}

export interface SearchAddition {
  readonly session: string;
  /** the reader's position before the rows; they are not taken when the store stands elsewhere */
  readonly from: string;
  readonly to: string;
  readonly rows: readonly SearchableRow[];
}

export interface SearchQuery {
  readonly words: readonly string[];
  /** ms since 1970, both inclusive */
  readonly from: number;
  readonly to: number;
  readonly session?: string;
  /** lower case */
  readonly contact?: string;
  readonly own?: boolean;
  readonly limit: number;
}

export interface SearchHit {
  readonly session: string;
  readonly seq: number;
  readonly own: boolean;
  readonly sender: string;
  readonly text: string;
  readonly at: number;
}

export class SearchStore {
  readonly #db: Database;

  /** Throws SQLITE_NOTADB and SQLITE_CORRUPT for a file to be made anew. */
  constructor(path: string) {
    const db = new Sqlite(path);
    try {
      db.pragma('locking_mode = EXCLUSIVE');
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = NORMAL');
      db.pragma('cache_size = -16384');
      if (Number(db.pragma('user_version', { simple: true })) !== VERSION) createTables(db);
    } catch (e) {
      db.close();
      throw e;
    }
    this.#db = db;
  }

  /** How far a session was read; empty: not at all. */
  position(session: string): string {
    return (prepared(this.#db, 'SELECT position FROM sessions WHERE session = ?').pluck().get(session) as string | undefined) ?? '';
  }

  sessions(): readonly string[] {
    return prepared(this.#db, 'SELECT session FROM sessions').pluck().all() as string[];
  }

  /** How many messages of a session can be found. */
  count(session: string): number {
    return Number(prepared(this.#db, 'SELECT count(*) FROM messages WHERE session = ?').pluck().get(session));
  }

  /** Rows and position in one transaction: neither gap nor duplicate, whenever it ends. */
  add({ session, from, to, rows }: SearchAddition): void {
    this.#db.transaction(() => {
      if (this.position(session) !== from) return; // somebody else was here since: the next look begins where the store stands
      for (const row of rows) this.#insert(session, row);
      prepared(
        this.#db,
        'INSERT INTO sessions (session, position) VALUES (?, ?) ON CONFLICT (session) DO UPDATE SET position = excluded.position',
      ).run(session, to);
    })();
  }

  /** A message's text was changed after it was read; an empty one is found no more. One that was not read yet is left alone. */
  replace(session: string, row: SearchableRow): void {
    this.#db.transaction(() => {
      if (this.#delete('session = ? AND seq = ?', session, row.seq) && row.text !== '') this.#insert(session, row);
    })();
  }

  forget(session: string): void {
    this.#db.transaction(() => {
      this.#delete('session = ?', session);
      prepared(this.#db, 'DELETE FROM sessions WHERE session = ?').run(session);
    })();
  }

  /** Newest first; one more than `limit` when there are more. */
  search(query: SearchQuery): readonly SearchHit[] {
    const long = query.words.filter((word) => [...word].length >= SHORTEST_INDEXED);
    const short = query.words.filter((word) => [...word].length < SHORTEST_INDEXED);
    const match = long.map((word) => `"${word.replaceAll('"', '""')}"`).join(' ');
    // The index gives its rows newest first by itself, and the search ends with the last row that is wanted.
    const [source, id] =
      long.length > 0 ? ['words CROSS JOIN messages ON messages.id = words.rowid', 'words.rowid'] : ['messages', 'messages.id'];
    const conditions = [
      ...(long.length > 0 ? ['words MATCH @match'] : []),
      `${id} >= CAST(@from AS INTEGER) << 20 AND ${id} < (CAST(@to AS INTEGER) + 1) << 20`,
      ...short.map((_, n) => `messages.text LIKE @short${n} ESCAPE '\\'`),
      ...(query.session === undefined ? [] : ['session = @session']),
      ...(query.contact === undefined ? [] : ['instr(contact, @contact) > 0']),
      ...(query.own === undefined ? [] : ['own = @own']),
    ];
    const rows = prepared(
      this.#db,
      `SELECT session, seq, own, sender, messages.text AS text, messages.id >> 20 AS at
       FROM ${source} WHERE ${conditions.join(' AND ')} ORDER BY ${id} DESC LIMIT @limit`,
    ).all({
      ...(long.length > 0 && { match }),
      from: query.from,
      to: query.to,
      ...Object.fromEntries(short.map((word, n) => [`short${n}`, `%${word.replaceAll(/[\\%_]/g, '\\$&')}%`])),
      ...(query.session !== undefined && { session: query.session }),
      ...(query.contact !== undefined && { contact: query.contact }),
      ...(query.own !== undefined && { own: query.own ? 1 : 0 }),
      limit: query.limit + 1,
    }) as { session: string; seq: number; own: number; sender: string; text: string; at: number }[];
    return rows.map((row) => ({ ...row, own: row.own === 1, text: snippet(row.text, query.words) }));
  }

  close(): void {
    this.#db.close();
  }

  /** The id is the time with room for a million messages in one millisecond: its order is the order of the answers. */
  #insert(session: string, { seq, own, sender, text, at }: SearchableRow): void {
    const inserted = prepared(
      this.#db,
      `INSERT INTO messages (id, session, seq, own, sender, contact, text)
       SELECT coalesce(max(id), CAST(@at AS INTEGER) << 20) + 1, @session, @seq, @own, @sender, @contact, @text FROM messages
       WHERE id >= CAST(@at AS INTEGER) << 20 AND id < (CAST(@at AS INTEGER) + 1) << 20
       ON CONFLICT (session, seq) DO NOTHING`,
    ).run({
      session,
      seq,
      own: own ? 1 : 0,
      sender,
      contact: sender.toLowerCase(),
      text,
      at: Math.min(Math.max(Math.trunc(at), 0), 2 ** 42),
    });
    if (inserted.changes === 0) return;
    prepared(this.#db, 'INSERT INTO words (rowid, text) SELECT id, text FROM messages WHERE session = ? AND seq = ?').run(session, seq);
  }

  /** False: there was none. */
  #delete(where: string, ...values: readonly (string | number)[]): boolean {
    prepared(this.#db, `INSERT INTO words (words, rowid, text) SELECT 'delete', id, text FROM messages WHERE ${where}`).run(...values);
    return prepared(this.#db, `DELETE FROM messages WHERE ${where}`).run(...values).changes > 0;
  }
}

function createTables(db: Database): void {
  db.transaction(() => {
    db.exec(`
DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS messages; DROP TABLE IF EXISTS sessions;
CREATE TABLE sessions (session TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, own INTEGER NOT NULL,
  sender TEXT NOT NULL, contact TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_seq ON messages (session, seq);
CREATE INDEX messages_session ON messages (session);
CREATE VIRTUAL TABLE words USING fts5 (text, content = 'messages', content_rowid = 'id', tokenize = 'trigram', columnsize = 0);`);
    db.pragma(`user_version = ${VERSION}`);
  })();
}
