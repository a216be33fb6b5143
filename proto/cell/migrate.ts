import type { Database } from 'better-sqlite3';

/** One numbered change of a file's schema. Additive only: a reader one version behind must still find what it knows. */
export interface Migration {
  readonly version: number;
  readonly sql: string;
}

/** A file that this program must not touch, because it was written by one that is more than one version away. */
export class SchemaSkewError extends Error {
  override readonly name = 'SchemaSkewError';
}

/** The newest version in the list, which is the one its writer brings files to. */
export function latest(migrations: readonly Migration[]): number {
  return migrations.at(-1)?.version ?? 0;
}

export function schemaVersion(db: Database): number {
  return Number(db.pragma('user_version', { simple: true }));
}

/**
 * Brings the writer's own file up to date, each step in a transaction with its version number.
 * A file one version ahead is left as it is: it is what a rolled-back program meets. Further ahead throws SchemaSkewError.
 */
export function migrate(db: Database, migrations: readonly Migration[], file: string): void {
  for (const { version, sql } of migrations) {
    if (schemaVersion(db) >= version) continue;
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${version}`);
    }).immediate();
  }
  checkSkew(schemaVersion(db), migrations, file);
}

/** What a reader accepts: its own version, one older, one newer. */
export function checkSkew(version: number, migrations: readonly Migration[], file: string): void {
  const own = latest(migrations);
  if (version < Math.max(1, own - 1) || version > own + 1) {
    throw new SchemaSkewError(
      `cannot use ${file}: its schema is version ${version}, this program works with ${Math.max(1, own - 1)} to ${own + 1}`,
    );
  }
}
