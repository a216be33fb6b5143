/**
 * The full text of one agent's conversations, in a file of its own: what another agent said can never be found in it. A copy of what
 * the cells hold, written lazily (WAL, no sync) and made anew whenever it cannot be read.
 */
import Sqlite, { type Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import { isPair, pairsOf } from './pairs.ts';
import { snippet } from './snippet.ts';

const VERSION = 3;
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
  /** It was empty, or of another version: nothing of what was said before is in it. */
  readonly made: boolean;

  /** Throws SQLITE_NOTADB and SQLITE_CORRUPT for a file to be made anew. */
  constructor(path: string) {
    const db = new Sqlite(path);
    try {
      db.pragma('locking_mode = EXCLUSIVE');
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = NORMAL');
      db.pragma('cache_size = -16384');
      this.made = Number(db.pragma('user_version', { simple: true })) !== VERSION;
      if (this.made) createTables(db);
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
    const { source, id, conditions, values } = planOf(query);
    const rows = prepared(
      this.#db,
      `SELECT messages.session, seq, own, messages.sender, messages.text AS text, messages.id >> 20 AS at
       FROM ${source} WHERE ${conditions.join(' AND ')} ORDER BY ${id} DESC LIMIT @limit`,
    ).all({ ...values, limit: query.limit + 1 }) as {
      session: string;
      seq: number;
      own: number;
      sender: string;
      text: string;
      at: number;
    }[];
    return rows.map((row) => ({ ...row, own: row.own === 1, text: snippet(row.text, query.words) }));
  }

  close(): void {
    this.#db.close();
  }

  /** The id is the time with room for a million messages in one millisecond: its order is the order of the answers. */
  #insert(session: string, { seq, own, sender, text, at }: SearchableRow): void {
    const inserted = prepared(
      this.#db,
      `INSERT INTO messages (id, session, seq, own, sender, text, folded)
       SELECT coalesce(max(id), CAST(@at AS INTEGER) << 20) + 1, @session, @seq, @own, @sender, @text, @folded FROM messages
       WHERE id >= CAST(@at AS INTEGER) << 20 AND id < (CAST(@at AS INTEGER) + 1) << 20
       ON CONFLICT (session, seq) DO NOTHING`,
    ).run({
      session,
      seq,
      own: own ? 1 : 0,
      sender,
      text,
      folded: foldedOf(text),
      at: Math.min(Math.max(Math.trunc(at), 0), 2 ** 42),
    });
    if (inserted.changes === 0) return;
    const where = 'FROM messages WHERE session = ? AND seq = ?';
    prepared(this.#db, `INSERT INTO words (rowid, text, sender) SELECT id, text, sender ${where}`).run(session, seq);
    const pairs = pairsOf(text);
    if (pairs !== '') prepared(this.#db, `INSERT INTO pairs (rowid, text) SELECT id, ? ${where}`).run(pairs, session, seq);
  }

  /** False: there was none. */
  #delete(where: string, ...values: readonly (string | number)[]): boolean {
    const words = `INSERT INTO words (words, rowid, text, sender) SELECT 'delete', id, text, sender FROM messages WHERE ${where}`;
    prepared(this.#db, words).run(...values);
    prepared(this.#db, `DELETE FROM pairs WHERE rowid IN (SELECT id FROM messages WHERE ${where})`).run(...values);
    return prepared(this.#db, `DELETE FROM messages WHERE ${where}`).run(...values).changes > 0;
  }
}

interface Plan {
  readonly source: string;
  /** what the source gives its rows by, newest first: the search ends with the last row that is wanted */
  readonly id: string;
  readonly conditions: readonly string[];
  readonly values: Readonly<Record<string, string | number>>;
}

/** From the narrowest source to the rows: a conversation, words, pairs of characters, or all messages of the time. */
function planOf(query: SearchQuery): Plan {
  const length = (word: string): number => [...word].length;
  const inIndex = query.session === undefined ? query.words.filter((word) => length(word) >= SHORTEST_INDEXED) : [];
  const contactInIndex = query.session === undefined && query.contact !== undefined && length(query.contact) >= SHORTEST_INDEXED;
  const match = [
    ...(inIndex.length > 0 ? [`text : (${inIndex.map(quoted).join(' AND ')})`] : []),
    ...(contactInIndex ? [`sender : ${quoted(query.contact ?? '')}`] : []),
  ].join(' AND ');
  const inPairs = query.session === undefined && match === '' ? query.words.filter(isPair) : [];
  const read = query.words.filter((word) => !inIndex.includes(word) && !inPairs.includes(word));
  const index = match !== '' ? 'words' : inPairs.length > 0 ? 'pairs' : undefined;
  const id = index === undefined ? 'messages.id' : `${index}.rowid`;
  return {
    source: index === undefined ? 'messages' : `${index} CROSS JOIN messages ON messages.id = ${id}`,
    id,
    conditions: [
      ...(index === undefined ? [] : [`${index} MATCH @match`]),
      `${id} >= CAST(@from AS INTEGER) << 20 AND ${id} < (CAST(@to AS INTEGER) + 1) << 20`,
      ...read.map((_, n) => `coalesce(folded, messages.text) LIKE @word${n} ESCAPE '\\'`),
      ...(query.session === undefined ? [] : ['session = @session']),
      ...(query.contact === undefined || contactInIndex ? [] : ['instr(lower(messages.sender), @contact) > 0']),
      ...(query.own === undefined ? [] : ['own = @own']),
    ],
    values: {
      ...(index !== undefined && {
        match: match !== '' ? match : inPairs.map((word) => `${quoted(word)}${length(word) === 1 ? '*' : ''}`).join(' AND '),
      }),
      from: query.from,
      to: query.to,
      ...Object.fromEntries(read.map((word, n) => [`word${n}`, `%${word.toLowerCase().replaceAll(/[\\%_]/g, '\\$&')}%`])),
      ...(query.session !== undefined && { session: query.session }),
      ...(query.contact !== undefined && !contactInIndex && { contact: query.contact }),
      ...(query.own !== undefined && { own: query.own ? 1 : 0 }),
    },
  };
}

/** One string of the index's own language. */
function quoted(word: string): string {
  return `"${word.replaceAll('"', '""')}"`;
}

/** In lower case, when SQLite, which knows those of ASCII alone, would not find it so by itself. */
function foldedOf(text: string): string | null {
  const lower = text.toLowerCase();
  return lower === text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase()) ? null : lower;
}

function createTables(db: Database): void {
  db.transaction(() => {
    db.exec(`
DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS pairs; DROP TABLE IF EXISTS messages; DROP TABLE IF EXISTS sessions;
CREATE TABLE sessions (session TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, session TEXT NOT NULL, seq INTEGER NOT NULL, own INTEGER NOT NULL,
  sender TEXT NOT NULL, text TEXT NOT NULL, folded TEXT
) STRICT;
CREATE UNIQUE INDEX messages_seq ON messages (session, seq);
CREATE INDEX messages_session ON messages (session);
CREATE VIRTUAL TABLE words USING fts5 (text, sender, content = 'messages', content_rowid = 'id', tokenize = 'trigram', columnsize = 0);
CREATE VIRTUAL TABLE pairs USING fts5 (text, content = '', contentless_delete = 1, detail = none);`);
    db.pragma(`user_version = ${VERSION}`);
  })();
}
