import type { Clock } from '../../lib/clock.ts';
import { Bell } from '../bell.ts';
import { GoneError, KubeError } from '../errors.ts';
import { invalidObject, tryRead } from '../read-object.ts';
import type { KubeObject, ResourceType, WatchEvent, WatchOptions } from '../store.ts';
import type { KindRules } from './admission.ts';
import type { Database, HistoryRow } from './database.ts';
import { selects } from './selector.ts';

const BATCH = 200;

/** Watches read the stored history, each with its own cursor: nothing is buffered per watch, and a restart goes on where it was. */
export class WatchHistory {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #length: number;
  readonly #bookmarkMs: number;
  readonly #bell = new Bell();

  constructor(db: Database, options: { readonly clock: Clock; readonly length: number; readonly bookmarkMs: number }) {
    this.#db = db;
    this.#clock = options.clock;
    this.#length = options.length;
    this.#bookmarkMs = options.bookmarkMs;
  }

  /** After each commit. */
  announce(): void {
    const { latest, compacted } = this.#db.versions();
    // Not at each write: one that deletes a single row costs as much as one that deletes a tenth.
    if (latest - compacted > this.#length * 1.1) this.#db.compact(latest - this.#length);
    this.#bell.ring();
  }

  async *watch<T extends KubeObject>(
    type: ResourceType<T>,
    rules: KindRules,
    options: WatchOptions & { readonly closed: AbortSignal },
  ): AsyncGenerator<WatchEvent<T>, void> {
    const { signal, closed } = options;
    const selected = selects(options.selector, rules.selectable);
    const all = Object.keys({ ...options.selector?.labels, ...options.selector?.fields }).length === 0;
    const endsAt = this.#clock.now() + (options.timeoutMs ?? Number.POSITIVE_INFINITY);
    const over = new AbortController();
    const end = (): void => over.abort();
    for (const s of [signal, closed]) s.addEventListener('abort', end, { once: true });
    try {
      let cursor = this.#startAt(options.resourceVersion);
      let toldAt = this.#clock.now();
      while (!signal.aborted && !closed.aborted) {
        const { latest, compacted } = this.#db.versions();
        if (cursor < compacted) throw new GoneError(`too old resource version: ${cursor} (${compacted})`);
        const rows = this.#db.history(rules.resource, cursor, BATCH);
        for (const row of rows) {
          cursor = row.version;
          const change = all ? row.type : seenThrough(selected, row);
          if (change === undefined) continue;
          toldAt = this.#clock.now();
          yield toEvent(type, change, row);
          if (signal.aborted || closed.aborted) return;
        }
        if (rows.length > 0) continue;
        cursor = Math.max(cursor, latest);
        const now = this.#clock.now();
        if (now >= endsAt || now - toldAt >= this.#bookmarkMs) {
          toldAt = now;
          yield { type: 'BOOKMARK', resourceVersion: String(cursor) };
          if (now >= endsAt) return;
          continue;
        }
        await this.#bell.wait(Math.min(endsAt, toldAt + this.#bookmarkMs) - now, this.#clock, over.signal);
      }
    } finally {
      for (const s of [signal, closed]) s.removeEventListener('abort', end);
    }
  }

  #startAt(resourceVersion: string): number {
    const cursor = Number(resourceVersion);
    const { latest } = this.#db.versions();
    if (!Number.isSafeInteger(cursor) || cursor < 1)
      throw new KubeError(400, `cannot watch from resourceVersion ${JSON.stringify(resourceVersion)}`);
    // A version from another file: what lies between can never be told.
    if (cursor > latest) throw new GoneError(`too large resource version: ${cursor}, current: ${latest}`);
    return cursor;
  }
}

/** What a change is to someone who sees selected objects only. */
function seenThrough(selected: (body: HistoryRow['body']) => boolean, row: HistoryRow): HistoryRow['type'] | undefined {
  const before = row.previous !== undefined && selected(row.previous);
  const now = row.type !== 'DELETED' && selected(row.body);
  if (now) return before ? 'MODIFIED' : 'ADDED';
  return before ? 'DELETED' : undefined;
}

function toEvent<T extends KubeObject>(type: ResourceType<T>, change: HistoryRow['type'], row: HistoryRow): WatchEvent<T> {
  const read = tryRead(type, row.body);
  if (read.ok) return { type: change, object: read.object };
  return { type: 'INVALID', change, object: invalidObject(row.body, read.error) };
}
