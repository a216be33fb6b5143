import type { Database, Statement } from 'better-sqlite3';

const byDatabase = new WeakMap<Database, Map<string, Statement<unknown[]>>>();

/** The statement for this text on this handle, prepared once: on the way of a message, preparing costs more than running. */
export function prepared(db: Database, sql: string): Statement<unknown[]> {
  let statements = byDatabase.get(db);
  if (statements === undefined) {
    statements = new Map();
    byDatabase.set(db, statements);
  }
  let statement = statements.get(sql);
  if (statement === undefined) {
    statement = db.prepare<unknown[]>(sql);
    statements.set(sql, statement);
  }
  return statement;
}
