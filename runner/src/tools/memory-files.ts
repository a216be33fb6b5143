/**
 * Memory: files that all of an agent's sessions share, each in a process of its own. A write looks and replaces under a lock over those
 * processes, so that none undoes what another wrote in between.
 */
import { createHash } from 'node:crypto';
import { JailError, type PathJail, readText, TooLargeError, writeAtomic } from '@dovecote/proto';
import Sqlite, { type Database } from 'better-sqlite3';
import type { Clock } from '../lifecycle/clock.ts';
import { ToolError } from './tool.ts';

export const MEMORY = '/agent/memory';
/** The etag of a file that is not there. */
export const NEW = 'new';
const MAX_BYTES = 256 * 1024;
const LOCK = `${MEMORY}/.lock`;
const RETRY_MS = 20;
const PATIENCE_MS = 5_000;

export interface MemoryContext {
  readonly files: PathJail;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface MemoryFile {
  readonly text: string;
  /** changes whenever the content does */
  readonly etag: string;
}

/** Below the memory's folder, whatever the model writes before it. Throws ToolError. */
export function memoryPath(files: PathJail, path: string): string {
  const below = path.startsWith('/') ? path : `${MEMORY}/${path}`;
  const { root, parts, shown } = files.resolve(below);
  if (root.alias !== '/agent' || parts[0] !== 'memory' || parts.length < 2)
    throw new ToolError(`${path} is not in the memory. Give a name such as people/ann.md.`);
  if (parts.some((part) => part.startsWith('.'))) throw new ToolError(`${path}: names in the memory do not begin with a dot.`);
  return shown;
}

/** undefined: it is not there. Throws JailError, TooLargeError. */
export function readMemory(files: PathJail, path: string): MemoryFile | undefined {
  try {
    const { text } = readText(files, path, MAX_BYTES);
    return { text, etag: etagOf(text) };
  } catch (e) {
    if (e instanceof JailError && e.reason === 'NotFound') return undefined;
    throw e;
  }
}

/** Replaces a file by what `change` makes of it; nobody else of the agent writes meanwhile. Its throw leaves the file as it is. */
export async function changeMemory(
  path: string,
  context: MemoryContext,
  change: (before: MemoryFile | undefined) => string,
): Promise<{ readonly etag: string; readonly created: boolean }> {
  const lock = await takeLock(context);
  try {
    const text = change(readMemory(context.files, path));
    const data = Buffer.from(text);
    if (data.length > MAX_BYTES)
      throw new TooLargeError(`${path} would have ${data.length} bytes; a file of the memory has at most ${MAX_BYTES}`);
    const { created } = writeAtomic(context.files, path, data, { createParents: true });
    return { etag: etagOf(data.toString()), created };
  } finally {
    lock.close();
  }
}

function etagOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** A lock of SQLite's, which the kernel gives back when its process dies. Nothing is ever written to the file. */
async function takeLock({ files, clock, signal }: MemoryContext): Promise<Database> {
  const db = files.withParent(LOCK, { write: true, createParents: true }, (folder, name) => openLock(folder.entry(name)));
  try {
    for (const end = clock.now() + PATIENCE_MS; ; ) {
      if (begun(db)) return db;
      if (clock.now() > end) throw new ToolError('The memory is being written by another conversation without end. Try again later.');
      await clock.sleep(RETRY_MS, signal);
    }
  } catch (e) {
    db.close();
    throw e;
  }
}

function openLock(path: string): Database {
  try {
    return new Sqlite(path, { timeout: 0 });
  } catch (e) {
    throw notALock(e);
  }
}

function begun(db: Database): boolean {
  try {
    db.pragma('journal_mode = MEMORY');
    db.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (e) {
    if (String((e as { code?: unknown }).code).startsWith('SQLITE_BUSY')) return false;
    throw notALock(e);
  }
}

/** The agent owns the folder and may have put anything there: its tool fails, never its runner. */
function notALock(cause: unknown): ToolError {
  return new ToolError(`${LOCK} cannot be used as a lock any more. Remove it (exec), then try again.`, { cause });
}
