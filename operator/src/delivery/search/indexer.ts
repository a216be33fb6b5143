/**
 * Copies what was said from the cells into the search files, behind the path of a message: a session that changed is noted, and read
 * some time later, from where the search file says that it was read before. What a crash forgets the next start reads again.
 */
import { isPassing } from '@dovecote/proto';
import type { Gauge } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { CellMissingError, type Cells } from '../cells/cells.ts';
import { inboundMessage, type Page, readPage } from '../sessions/conversation.ts';
import { formatCursor, type Position, parseCursor, START } from '../sessions/cursor.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import type { SearchAddition, SearchableRow } from './search-store.ts';
import type { SearchThread } from './search-thread.ts';
import { searchable } from './searchable.ts';

/** A session is left alone for so long after it was noted: a turn or a burst in full swing is read once. A search reads what it needs itself. */
const REST_MS = 3_000;
const AFTER_FAILURE_MS = 5_000;
/** What is gone from the volume is not found for longer than this. */
const TIDY_MS = 3_600_000;
/** Rows of one look: a bound on how long the event loop is held. */
const PAGE = 64;
/** Of one addition, but for a single longer message: a search that waits for the thread waits for no more than that. */
const ADDITION_CHARS = 256 * 1024;

export interface IndexerDeps {
  readonly cells: Cells;
  readonly index: Pick<ShardIndex, 'get' | 'names' | 'ofAgent'>;
  readonly thread: SearchThread;
  readonly clock: Clock;
  readonly log: Log;
  /** nothing is written while the volume is full */
  readonly full: () => boolean;
  readonly lag: Pick<Gauge, 'set'>;
}

export class SearchIndexer {
  readonly #deps: IndexerDeps;
  readonly #noted = new Set<string>();
  /** not read to its end since the start, or since the file of its agent was made anew */
  readonly #unread = new Set<string>();
  readonly #reading = new Map<string, Promise<void>>();
  #wake = Promise.withResolvers<void>();

  constructor(deps: IndexerDeps) {
    this.#deps = deps;
  }

  /** Something was said in the session. Costs nothing here. */
  note(session: string): void {
    this.#noted.add(session);
    this.#wake.resolve();
  }

  /** The file of this agent holds nothing of what was said before. */
  readAnew(agent: string): void {
    for (const { session } of this.#deps.index.ofAgent(agent)) this.#readWhole(session);
  }

  /** Sessions of the agent, or that one of them, whose messages cannot all be found yet. */
  unread(agent: string, session: string | undefined): number {
    const { index } = this.#deps;
    return [...this.#unread].filter((one) => (session ?? one) === one && index.get(one)?.agent_group_uid === agent).length;
  }

  #readWhole(session: string): void {
    this.#unread.add(session);
    this.note(session);
  }

  /** A message's text was changed in its cell. */
  async amended(session: string, seq: number): Promise<void> {
    const { cells, index, thread } = this.#deps;
    const agent = index.get(session)?.agent_group_uid;
    if (agent === undefined) return;
    await this.#reading.get(session); // a read under way may have the old text in hand
    const row = inboundMessage(cells.open(session), seq);
    if (row === undefined) return;
    const { seq: _, ...fields } = searchable(row) ?? { seq, own: false, sender: '', text: '', at: row.createdAtMs };
    await thread.call('replace', agent, session, { seq, ...fields });
  }

  /** Reads the agent's noted sessions now: what was said a moment ago is found too. Rejects when one could not be read, after the others. */
  async catchUp(agent: string, signal: AbortSignal): Promise<void> {
    let failure: { readonly thrown: unknown } | undefined;
    for (const session of [...this.#noted]) {
      signal.throwIfAborted();
      if (this.#deps.index.get(session)?.agent_group_uid !== agent) continue;
      await this.#read(session).catch((thrown: unknown) => {
        failure = { thrown };
      });
    }
    if (failure !== undefined) throw failure.thrown;
  }

  /** Runs until the signal aborts. First every session of the shard: what was said while nobody looked. */
  async run(signal: AbortSignal): Promise<void> {
    const { index, clock, lag } = this.#deps;
    for (const session of index.names()) this.#readWhole(session);
    let tidyAt = 0;
    while (!signal.aborted) {
      if (clock.now() >= tidyAt) {
        await this.#forgetGone(signal).catch((e: unknown) => this.#failed('', e));
        tidyAt = clock.now() + TIDY_MS;
      }
      lag.set(this.#noted.size);
      await this.#noteOr(tidyAt - clock.now(), signal);
      await clock.sleep(REST_MS, signal).catch(() => {});
      this.#wake = Promise.withResolvers<void>();
      if (await this.#readNoted(signal)) continue;
      await clock.sleep(AFTER_FAILURE_MS, signal).catch(() => {});
      this.#wake.resolve();
    }
  }

  /** Waits for a note, so many ms at most. */
  async #noteOr(ms: number, signal: AbortSignal): Promise<void> {
    const noted = new AbortController();
    const timer = this.#deps.clock.sleep(Math.max(0, ms), AbortSignal.any([signal, noted.signal])).catch(() => {});
    await Promise.race([this.#wake.promise, timer]);
    noted.abort();
    await timer;
  }

  /** False: some are to be tried again. */
  async #readNoted(signal: AbortSignal): Promise<boolean> {
    let whole = true;
    for (const session of [...this.#noted]) {
      if (this.#deps.full()) return false;
      if (signal.aborted) return whole;
      try {
        await this.#read(session);
      } catch (e) {
        whole = false;
        if (!isPassing(e)) this.#failed(session, e);
      }
    }
    return whole;
  }

  /** Shared by all who ask meanwhile: two at once would read the same rows. */
  #read(session: string): Promise<void> {
    const under = this.#reading.get(session);
    if (under !== undefined) return under;
    const reading = this.#readAll(session).finally(() => this.#reading.delete(session));
    this.#reading.set(session, reading);
    return reading;
  }

  async #readAll(session: string): Promise<void> {
    const { cells, index, thread } = this.#deps;
    const agent = index.get(session)?.agent_group_uid;
    if (agent === undefined) {
      this.#noted.delete(session);
      this.#unread.delete(session);
      return;
    }
    for (;;) {
      const from = await thread.call('position', agent, session);
      this.#noted.delete(session); // before reading: what comes while it is read is noted again
      try {
        const { steps } = readPage(cells.open(session), positionIn(from, session), PAGE);
        for (const addition of additionsOf(session, from, steps)) await thread.call('add', agent, addition);
        // There was no more; what came meanwhile has noted the session again.
        if (steps.length < PAGE) {
          this.#unread.delete(session);
          return;
        }
      } catch (e) {
        if (e instanceof CellMissingError) {
          this.#unread.delete(session);
          return;
        }
        this.#noted.add(session);
        throw e;
      }
    }
  }

  /** Sessions whose cells are gone from the volume, and agents that have none any more. */
  async #forgetGone(signal: AbortSignal): Promise<void> {
    const { index, thread } = this.#deps;
    const names = index.names();
    const known = new Set(names);
    const agents = new Set(names.flatMap((name) => index.get(name)?.agent_group_uid ?? []));
    await thread.call('keepOnly', [...agents]);
    for (const agent of agents) {
      for (const session of await thread.call('sessions', agent)) {
        signal.throwIfAborted();
        if (!known.has(session)) await thread.call('forget', agent, session);
      }
    }
  }

  #failed(session: string, thrown: unknown): void {
    this.#deps.log.warn({ session, err: toError(thrown) }, 'session could not be read into the search, it is tried again');
  }
}

/** The page in pieces, each with the position before and behind it. */
function* additionsOf(session: string, from: string, steps: Page['steps']): Generator<SearchAddition> {
  let before = from;
  let rows: SearchableRow[] = [];
  let chars = 0;
  for (const [n, { message, after }] of steps.entries()) {
    const row = message === undefined ? undefined : searchable(message);
    if (row !== undefined) rows.push(row);
    chars += row?.text.length ?? 0;
    if (chars < ADDITION_CHARS && n < steps.length - 1) continue;
    const to = formatCursor(new Map([[session, after]]));
    yield { session, from: before, to, rows };
    [before, rows, chars] = [to, [], 0];
  }
}

function positionIn(cursor: string, session: string): Position {
  return parseCursor(cursor).get(session) ?? START;
}
