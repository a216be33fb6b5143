/** The code of SQLite's error, such as SQLITE_BUSY; empty for any other. By its look: two copies of the library, or of a realm, have two classes. */
export function sqliteCode(thrown: unknown): string {
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : '';
}
