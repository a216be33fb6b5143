/**
 * Hop 7, last part: the only writer of outbound.db. Everything a step changes is one transaction here: acks, rows for
 * delivery, transcript, turn and state. Nobody else in the runner holds a handle on the file.
 */

import { dirname, join } from 'node:path';
import {
  type AckRow,
  type Block,
  type HistoryRow,
  latest,
  type Migration,
  OUTBOUND_MIGRATIONS,
  type OutboundKindName,
  openOutboundWriter,
  type TurnRow,
  type TurnState,
  type Usage,
} from '@dovecote/proto';
import type { Database, Statement } from 'better-sqlite3';
import type { Clock } from '../lifecycle/clock.ts';
import { type Claim, type ClaimingTurn, readClaimMarker, writeClaimMarker } from './claim-marker.ts';

/** After so many turns that began with a message and did not survive it, the message is set aside. */
export const MAX_TRIES = 5;
const RETRY_MS = 5_000;
/** A claim that no commit took along is committed by itself after this long: delivery should see what is being read. */
const CLAIM_WITHIN_MS = 10;
const CLAIM_MARKER = 'claim';
const TAKEN = new Error('another commit took the claim along');
/** Set aside, the sentence that delivery shows to people. */
export const POISON = 'This message stopped the agent five times and was set aside.';

export interface NewOut {
  /** "<turn>/<step>/<n>": a row that is there already is not written again */
  readonly id: string;
  readonly kind: OutboundKindName;
  readonly destination?: string | undefined;
  readonly inReplyTo?: number | undefined;
  /** the content, or a function of the seq for rows whose files lie below it */
  readonly content: object | ((seq: number) => object);
}

export interface NewHistory {
  readonly turn: string;
  readonly step: number;
  readonly role: HistoryRow['role'];
  readonly blocks: readonly Block[];
  readonly inSeq?: number | undefined;
  readonly model?: string | undefined;
  readonly usage?: Usage | undefined;
}

/** Everything that must become true together. */
export interface Change {
  readonly history?: readonly NewHistory[];
  readonly settle?: { readonly seqs: readonly number[]; readonly state: 'done' | 'failed'; readonly turn: string; readonly error?: string };
  /** what waits for its next try need wait no longer */
  readonly makeDue?: true;
  readonly out?: readonly NewOut[];
  readonly turn?: {
    readonly id: string;
    readonly state: TurnState;
    readonly steps: number;
    readonly error?: string | undefined;
    readonly model?: string | undefined;
  };
  /** undefined as a value removes the key */
  readonly state?: Readonly<Record<string, unknown>>;
}

export interface Written {
  /** of each row in `out`, also of one that was there before */
  readonly seqs: readonly number[];
}

/** What the outbox needs of the inbox: the order of seqs over both files, and a mirror of every ack. */
export interface InboxSide {
  highestSeq(): number;
  lowestPending(): number;
  mirror(acks: readonly AckRow[]): void;
}

/** Claimed, and not in the file yet. */
interface EarlyClaim extends Claim {
  readonly onVisible: () => void;
  readonly timer: AbortController;
}

export class Outbox {
  readonly #db: Database;
  readonly #marker: string;
  #early: EarlyClaim | undefined;
  readonly #statements = new Map<string, Statement>();
  readonly #inbox: InboxSide;
  readonly #clock: Clock;
  readonly #onRows: (seq: number) => void;
  readonly #retryMs: number;

  /**
   * Opens, migrates and so rolls back what a killed predecessor left half-written. `onRows` is called after each commit
   * that delivery should see. Throws SchemaSkewError.
   */
  static open(
    path: string,
    deps: {
      readonly inbox: InboxSide;
      readonly clock: Clock;
      readonly onRows: (seq: number) => void;
      readonly migrations?: readonly Migration[];
      /** the wait after a message ended its second process, ms; each further one doubles it */
      readonly retryMs?: number;
    },
  ): Outbox {
    const db = openOutboundWriter(path, deps.migrations ?? OUTBOUND_MIGRATIONS);
    const outbox = new Outbox(db, join(dirname(path), CLAIM_MARKER), deps);
    deps.inbox.mirror(outbox.acksFrom(deps.inbox.lowestPending()));
    return outbox;
  }

  private constructor(
    db: Database,
    marker: string,
    deps: { readonly inbox: InboxSide; readonly clock: Clock; readonly onRows: (seq: number) => void; readonly retryMs?: number },
  ) {
    this.#db = db;
    this.#marker = marker;
    this.#inbox = deps.inbox;
    this.#clock = deps.clock;
    this.#onRows = deps.onRows;
    this.#retryMs = deps.retryMs ?? RETRY_MS;
  }

  static readonly schema = latest(OUTBOUND_MIGRATIONS);

  /**
   * Clears what a dead predecessor left: its claims become due again (at once after the first death, then later and
   * later, at last set aside), a turn without a finished step is closed.
   */
  clearStale(): { readonly interrupted: number; readonly setAside: number } {
    const now = this.#clock.now();
    const left = readClaimMarker(this.#marker);
    const changed = this.#transaction(() => {
      // Of a turn that the file does not know: its claim was the last thing that its process did.
      if (left !== undefined && this.#sql('SELECT 1 FROM turns WHERE id = ?').get(left.turn.id) === undefined) this.#insertClaim(left, now);
      this.#sql(
        `UPDATE turns SET state = 'failed', error = 'the runner ended before its first step', ended_at = ? WHERE state = 'running' AND steps = 0`,
      ).run(now);
      return this.#sql(
        `UPDATE acks SET
             state = iif(tries >= :max, 'failed', 'interrupted'),
             error = iif(tries >= :max, :poison, error),
             next_try_at = iif(tries < 2, :now, :now + :first * (1 << (min(tries, 20) - 2))),
             at = :now
           WHERE state = 'processing' OR (state = 'interrupted' AND tries >= :max) RETURNING *`,
      ).all({ max: MAX_TRIES, poison: POISON, now, first: this.#retryMs }) as AckRow[];
    });
    this.#inbox.mirror(changed);
    const setAside = changed.filter((ack) => ack.state === 'failed').length;
    if (setAside > 0) this.#onRows(this.highestSeq());
    return { interrupted: changed.length - setAside, setAside };
  }

  /**
   * Marks rows as being worked on by a turn, and counts the try. Makes the turn's row when it is new. Outlives this process when it
   * returns; is in the file with the next commit, which for a quick answer is the step itself, or after some milliseconds.
   * `onVisible` is called once it is there: only from then on does delivery see that the rows are being read.
   */
  claim(turn: ClaimingTurn, seqs: readonly number[], onVisible: () => void = () => {}): void {
    this.#commitEarly();
    const now = this.#clock.now();
    const known = this.#sql('SELECT 1 FROM acks WHERE in_seq IN (SELECT value FROM json_each(?)) LIMIT 1').get(JSON.stringify(seqs));
    // A row that was tried before has a count in the file, which must not lag behind.
    if (known !== undefined || !writeClaimMarker(this.#marker, { turn, seqs })) {
      this.#inbox.mirror(this.#transaction(() => this.#insertClaim({ turn, seqs }, now)));
      onVisible();
      return;
    }
    const timer = new AbortController();
    this.#early = { turn, seqs, onVisible, timer };
    this.#inbox.mirror(
      seqs.map((in_seq) => ({ in_seq, state: 'processing', turn_id: turn.id, tries: 1, next_try_at: 0, error: null, at: now })),
    );
    this.#clock
      .sleep(CLAIM_WITHIN_MS, timer.signal)
      .then(() => this.#commitEarly())
      .catch(() => {}); // another commit took it along; or the file is at fault, which ends the turn, with its reason, at the next commit
  }

  #commitEarly(): void {
    if (this.#early !== undefined) this.#transaction(() => {});
  }

  #insertClaim({ turn, seqs }: Claim, now: number): AckRow[] {
    this.#sql(
      'INSERT INTO turns (id, state, provider, model, origin_seq, started_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING',
    ).run(turn.id, 'running', turn.provider, turn.model ?? null, turn.origin ?? null, now);
    const claim = this.#sql(
      `INSERT INTO acks (in_seq, state, turn_id, at) VALUES (:seq, 'processing', :turn, :now)
         ON CONFLICT (in_seq) DO UPDATE SET state = 'processing', turn_id = :turn, tries = tries + 1, at = :now WHERE state = 'interrupted' RETURNING *`,
    );
    return seqs.flatMap((seq) => (claim.get({ seq, turn: turn.id, now }) as AckRow | undefined) ?? []);
  }

  /** Gives back what a turn claimed and no step used: not counted as a try, because nothing died. `also` becomes true together with it. */
  release(turn: string, nextTryAt: number, why: string, also: Pick<Change, 'out' | 'state'> = {}): void {
    const now = this.#clock.now();
    const acks = this.#transaction(() => {
      for (const row of also.out ?? []) this.#appendOut(row, now);
      for (const [key, value] of Object.entries(also.state ?? {})) this.#putState(key, value, now);
      this.#sql(`UPDATE turns SET state = 'stopped', error = ?, ended_at = ? WHERE id = ? AND state = 'running' AND steps = 0`).run(
        why,
        now,
        turn,
      );
      return this.#sql(
        `UPDATE acks SET state = 'interrupted', tries = max(tries - 1, 0), next_try_at = ?, at = ? WHERE turn_id = ? AND state = 'processing' RETURNING *`,
      ).all(nextTryAt, now, turn) as AckRow[];
    });
    this.#inbox.mirror(acks);
    if (also.out !== undefined && also.out.length > 0) this.#onRows(this.highestSeq());
  }

  /** One transaction. The rows' files must lie in their place before it. */
  commit(change: Change): Written {
    const now = this.#clock.now();
    const acks: AckRow[] = [];
    const seqs: number[] = [];
    this.#transaction(() => {
      for (const row of change.history ?? []) this.#appendHistory(row, now);
      if (change.settle !== undefined) {
        const settle = this.#sql(
          `INSERT INTO acks (in_seq, state, turn_id, error, at) VALUES (:seq, :state, :turn, :error, :now)
           ON CONFLICT (in_seq) DO UPDATE SET state = :state, turn_id = :turn, error = :error, at = :now RETURNING *`,
        );
        for (const seq of change.settle.seqs)
          acks.push(
            settle.get({ seq, state: change.settle.state, turn: change.settle.turn, error: change.settle.error ?? null, now }) as AckRow,
          );
      }
      if (change.makeDue === true)
        acks.push(...(this.#sql("UPDATE acks SET next_try_at = 0, at = ? WHERE state = 'interrupted' RETURNING *").all(now) as AckRow[]));
      for (const row of change.out ?? []) seqs.push(this.#appendOut(row, now));
      if (change.turn !== undefined) {
        const { id, state, steps, error, model } = change.turn;
        this.#sql('UPDATE turns SET state = ?, steps = ?, error = ?, model = coalesce(?, model), ended_at = ? WHERE id = ?').run(
          state,
          steps,
          error ?? null,
          model ?? null,
          state === 'running' ? null : now,
          id,
        );
      }
      for (const [key, value] of Object.entries(change.state ?? {})) this.#putState(key, value, now);
    });
    this.#inbox.mirror(acks);
    if (acks.length > 0 || seqs.length > 0) this.#onRows(this.highestSeq());
    return { seqs };
  }

  /** The turn that a predecessor left after a finished step. */
  unfinishedTurn(): TurnRow | undefined {
    return this.#sql("SELECT * FROM turns WHERE state = 'running' ORDER BY started_at LIMIT 1").get() as TurnRow | undefined;
  }

  /** The transcript, oldest first, from a history id on. */
  history(fromId = 0): readonly (HistoryRow & { readonly turn_state: TurnState })[] {
    return this.#sql('SELECT h.*, t.state AS turn_state FROM history h JOIN turns t ON t.id = h.turn_id WHERE h.id >= ? ORDER BY h.id').all(
      fromId,
    ) as (HistoryRow & { turn_state: TurnState })[];
  }

  /** The inbound rows that the finished steps of a turn have read. */
  readBy(turn: string): readonly number[] {
    return this.#sql('SELECT in_seq FROM history WHERE turn_id = ? AND in_seq IS NOT NULL ORDER BY in_seq').pluck().all(turn) as number[];
  }

  /** The seq of a row written before, by its id. */
  written(id: string): number | undefined {
    return this.#sql('SELECT seq FROM messages_out WHERE id = ?').pluck().get(id) as number | undefined;
  }

  /** When the question in that row ends, ms since 1970. undefined: there is no such row. */
  questionExpiry(id: string): number | undefined {
    const at = this.#sql("SELECT json_extract(content, '$.expiresAt') FROM messages_out WHERE id = ? AND kind = 'question'")
      .pluck()
      .get(id) as unknown;
    return typeof at === 'number' ? at : undefined;
  }

  /** Kind and text of a row, for whoever would change it. */
  sent(seq: number): { readonly kind: OutboundKindName; readonly text: string } | undefined {
    return this.#sql("SELECT kind, coalesce(json_extract(content, '$.text'), '') AS text FROM messages_out WHERE seq = ?").get(seq) as
      | { kind: OutboundKindName; text: string }
      | undefined;
  }

  /** The newest texts that were sent, newest first. */
  lastSent(limit: number): readonly { readonly seq: number; readonly text: string }[] {
    return this.#sql(
      "SELECT seq, json_extract(content, '$.text') AS text FROM messages_out WHERE kind = 'chat' ORDER BY seq DESC LIMIT ?",
    ).all(limit) as { seq: number; text: string }[];
  }

  /** Whether the turn has anything for people. */
  hasAnswered(turn: string): boolean {
    return this.#sql("SELECT 1 FROM messages_out WHERE id GLOB ? || '/*' AND id NOT GLOB '*/busy' LIMIT 1").get(turn) !== undefined;
  }

  getState(key: string): unknown {
    const value = this.#sql('SELECT value FROM state WHERE key = ?').pluck().get(key) as string | undefined;
    return value === undefined ? undefined : JSON.parse(value);
  }

  acksFrom(seq: number): readonly AckRow[] {
    return this.#sql('SELECT * FROM acks WHERE in_seq >= ?').all(seq) as AckRow[];
  }

  highestSeq(): number {
    return Number(this.#sql('SELECT coalesce(max(seq), 0) FROM messages_out').pluck().get());
  }

  /** After all that is ready to run; not at all once the files are closed, as a session's last commit may be right before that. */
  soon(task: () => void): void {
    setImmediate(() => {
      if (this.#db.open) task();
    });
  }

  /** Before the inbox is closed. */
  close(): void {
    this.#early?.timer.abort(TAKEN); // the next process finds the marker
    this.#db.close();
  }

  /** Preparing a statement costs as much as running it: each is prepared once. */
  #sql(sql: string): Statement {
    const known = this.#statements.get(sql) ?? this.#db.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  #transaction<T>(work: () => T): T {
    const early = this.#early;
    const result = this.#db
      .transaction(() => {
        if (early !== undefined) this.#insertClaim(early, this.#clock.now());
        return work();
      })
      .immediate();
    if (early !== undefined) {
      this.#early = undefined;
      early.timer.abort(TAKEN);
      this.soon(early.onVisible); // whoever commits goes on first: he may be about to say that the rows are used
    }
    return result;
  }

  #appendHistory(row: NewHistory, now: number): void {
    this.#sql('INSERT INTO history (turn_id, step, role, content, in_seq, model, usage, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)').run(
      row.turn,
      row.step,
      row.role,
      JSON.stringify(row.blocks),
      row.inSeq ?? null,
      row.model ?? null,
      row.usage === undefined ? null : JSON.stringify(row.usage),
      now,
    );
  }

  #appendOut(row: NewOut, now: number): number {
    const before = this.written(row.id);
    if (before !== undefined) return before;
    // Above both files' highest, so that seq order reads as the order of the conversation.
    const above = Math.max(this.highestSeq(), this.#inbox.highestSeq());
    const seq = above + 1 + (above % 2);
    const content = typeof row.content === 'function' ? row.content(seq) : row.content;
    this.#sql('INSERT INTO messages_out (seq, id, kind, destination, in_reply_to, content, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)').run(
      seq,
      row.id,
      row.kind,
      row.destination ?? null,
      row.inReplyTo ?? null,
      JSON.stringify(content),
      now,
    );
    return seq;
  }

  #putState(key: string, value: unknown, now: number): void {
    if (value === undefined) this.#sql('DELETE FROM state WHERE key = ?').run(key);
    else
      this.#sql(
        'INSERT INTO state (key, value, updated_at) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at',
      ).run(key, JSON.stringify(value), now);
  }
}
