/**
 * The life of a session's process: clear what a predecessor left, go on with its turn, then turn after turn as messages
 * become due, until a drain.
 */
import { type HeldState, STATE_HELD, type TurnRow } from '@dovecote/proto';
import { controlCommand } from '../inbox/control-command.ts';
import { type DueRow, unlessPassing } from '../inbox/inbox.ts';
import { loseJobs } from '../jobs/job-record.ts';
import { MAX_TRIES } from '../outbox/outbox.ts';
import { CompactOnDemand } from './compact-on-demand.ts';
import type { Drain } from './drain.ts';
import type { TurnOutcome } from './endings.ts';
import { KILLED, NOTHING_TO_STOP } from './sentences.ts';
import type { SessionDeps, TurnDeps } from './session-deps.ts';
import { TitleMaker } from './title.ts';
import { Turn } from './turn.ts';
import { CHECKPOINT_STATE, type CheckpointState, RESUME_STATE, type ResumeState, VOID } from './turn-state.ts';

/** Doorbells may be lost: this finds what they announced. */
const POLL_MS = 1_000;
/** A read that met a commit: looked at again after this long. */
const PASSING_MS = 5;

const OVER = new Error('the turn is over');

/** What one process does at a time, and can be stopped. */
interface Work {
  readonly id: string;
  /** on behalf of these control rows */
  stop(seqs: readonly number[]): void;
  /** Rejects only for what ends the process. */
  run(): Promise<TurnOutcome>;
}

interface Unfinished {
  readonly row: TurnRow;
  readonly interruptions: number;
  /** ms since 1970 */
  readonly dueAt: number;
  /** not by a death, but until somebody has changed something: the highest seq that it has been tried with; undefined: it is not held */
  readonly held?: number | undefined;
}

export class Session {
  readonly #deps: TurnDeps;
  readonly #drain: Drain;
  readonly #titles: TitleMaker;
  #unfinished: Unfinished | undefined;
  #checkpointed = false;

  constructor(deps: SessionDeps, drain: Drain) {
    this.#titles = new TitleMaker(deps);
    this.#deps = { ...deps, titles: this.#titles, unseenChanges: [] };
    this.#drain = drain;
  }

  /** True while a turn waits for the next process. Valid after `run`. */
  get checkpointed(): boolean {
    return this.#checkpointed;
  }

  /** Runs until the drain. Rejects for what ends the process. */
  async run(): Promise<void> {
    const { bell, log } = this.#deps;
    const cleared = this.#deps.outbox.clearStale();
    loseJobs(this.#deps.outbox);
    if (cleared.interrupted + cleared.setAside > 0) log.warn(cleared, 'a predecessor ended in the middle of a turn');
    this.#unfinished = this.#findUnfinished();
    try {
      while (!this.#drain.soft.aborted) {
        const heard = bell.count;
        const next = unlessPassing(() => this.#look());
        if (typeof next === 'object') {
          const outcome = await this.#runWork(next);
          if (outcome === 'checkpointed') this.#checkpointed = true;
          if (outcome === 'held') this.#unfinished = this.#findHeld();
        } else await bell.wait(heard, next === undefined ? PASSING_MS : Math.min(POLL_MS, next), this.#drain.soft);
      }
    } finally {
      await this.#titles.close();
    }
    if (this.#unfinished !== undefined) this.#leaveUnfinished(this.#unfinished);
  }

  /** A turn whose next try was still waited for: this process did not die of it, so it does not count. */
  #leaveUnfinished({ row, interruptions }: Unfinished): void {
    this.#checkpointed = true;
    const place = { turn: row.id, step: row.steps };
    // One that was left on purpose is left so again: its next call has not run, and the model must not be told that it may have.
    const state =
      interruptions === 0
        ? { [CHECKPOINT_STATE]: place satisfies CheckpointState, [RESUME_STATE]: undefined }
        : { [RESUME_STATE]: { ...place, count: interruptions - 1 } satisfies ResumeState };
    this.#deps.outbox.commit({ state });
  }

  /** The next work, or how long to wait, ms. */
  #look(): Work | number {
    const { inbox, clock } = this.#deps;
    const now = clock.now();
    const { control, batch, projection, dueAt } = inbox.snapshot(() => {
      inbox.changed();
      // Whoever writes while a turn is held asks for another try.
      const waits = this.#unfinished !== undefined && this.#unfinished.held === undefined;
      const due = waits ? undefined : inbox.next(now);
      return {
        control: inbox.control(now),
        batch: due,
        projection: due === undefined ? undefined : this.#deps.projection(),
        dueAt: due === undefined ? inbox.nextDueAt() : undefined,
      };
    });
    const stops = control.filter((row) => controlCommand(row) === 'stop');
    if (stops.length > 0) this.#stopIdle(stops);
    const retries = control.filter((row) => controlCommand(row) === 'retry');
    if (retries.length > 0) {
      this.#retry(retries);
      return 0;
    }
    if (this.#unfinished !== undefined) {
      const { row, interruptions, dueAt: resumeAt, held } = this.#unfinished;
      const asked = held !== undefined && batch?.rows.some(({ seq }) => seq > held) === true;
      if (resumeAt > now && !asked) return resumeAt - now;
      const turn = Turn.resume(this.#deps, this.#drain, row, interruptions);
      this.#unfinished = undefined;
      return turn;
    }
    const compacts = control.filter((row) => controlCommand(row) === 'compact');
    if (compacts.length > 0) return new CompactOnDemand(compacts, this.#deps, this.#drain);
    if (batch !== undefined && projection !== undefined) return Turn.begin(this.#deps, this.#drain, batch, projection);
    return dueAt === undefined ? POLL_MS : Math.max(0, dueAt - now);
  }

  async #runWork(work: Work): Promise<TurnOutcome> {
    const over = new AbortController();
    const watching = this.#watchForStop(work, over.signal);
    try {
      const outcome = await work.run();
      this.#deps.log.info({ turn: work.id, outcome }, 'a turn has ended');
      return outcome;
    } finally {
      over.abort(OVER);
      await watching;
    }
  }

  /** While a turn runs, the control lane is read by doorbell and poll: a stop does not queue behind the turn it stops. */
  async #watchForStop(work: Work, over: AbortSignal): Promise<void> {
    const { bell, inbox, clock } = this.#deps;
    while (!over.aborted) {
      const heard = bell.count;
      const stops = unlessPassing(() => inbox.control(clock.now()).filter((row) => controlCommand(row) === 'stop'));
      if (stops !== undefined && stops.length > 0) {
        work.stop(stops.map((row) => row.seq));
        return;
      }
      await bell.wait(heard, stops === undefined ? PASSING_MS : POLL_MS, over);
    }
  }

  /** A stop while nothing runs; an unfinished turn that waits for its next try is ended by it. */
  #stopIdle(stops: readonly DueRow[]): void {
    const last = stops.at(-1);
    if (last === undefined) return;
    if (this.#unfinished !== undefined) {
      const turn = Turn.resume(this.#deps, this.#drain, this.#unfinished.row, this.#unfinished.interruptions);
      turn.stop(stops.map((row) => row.seq));
      turn.endStopped();
      this.#unfinished = undefined; // last: a file that is busy is tried again, and the turn must not be lost over it
      return;
    }
    this.#deps.outbox.commit({
      settle: { seqs: stops.map((row) => row.seq), state: 'done', turn: '' },
      out: [{ id: `stop/${last.seq}`, kind: 'chat', inReplyTo: last.seq, content: { text: NOTHING_TO_STOP } }],
    });
  }

  /** What was refused may be granted now: nothing waits for its time any more. */
  #retry(rows: readonly DueRow[]): void {
    const { outbox, clock, log } = this.#deps;
    log.info({ seq: rows.at(-1)?.seq }, 'what waits for its next try is tried at once');
    outbox.commit({ settle: { seqs: rows.map((row) => row.seq), state: 'done', turn: '' }, makeDue: true });
    if (this.#unfinished?.held !== undefined) this.#unfinished = { ...this.#unfinished, dueAt: clock.now() };
  }

  #findHeld(): Unfinished | undefined {
    const { outbox, inbox } = this.#deps;
    const row = outbox.unfinishedTurn();
    const held = outbox.getState(STATE_HELD) as HeldState | undefined;
    if (row === undefined || held?.turn !== row.id) return undefined;
    return { row, interruptions: 0, dueAt: held.until, held: inbox.highestSeq() };
  }

  /** A turn that was left after a finished step, and when it may go on: each death in the same step makes the wait longer. */
  #findUnfinished(): Unfinished | undefined {
    const { outbox, clock, log } = this.#deps;
    const row = outbox.unfinishedTurn();
    if (row === undefined) return undefined;
    const checkpoint = outbox.getState(CHECKPOINT_STATE) as CheckpointState | undefined;
    const before = outbox.getState(RESUME_STATE) as ResumeState | undefined;
    const same = before?.turn === row.id && before.step === row.steps;
    const clean = checkpoint?.turn === row.id && checkpoint.step === row.steps && !same;
    if (clean) {
      const held = this.#findHeld();
      if (held !== undefined) return { ...held, held: 0 }; // a message that woke this process asks for a try
    }
    const count = clean ? 0 : same ? before.count + 1 : 1;
    if (count > MAX_TRIES) {
      log.error({ turn: row.id, step: row.steps }, 'a turn ended its process too often and was given up');
      outbox.commit({
        out: [{ id: `${row.id}/${row.steps}/killed`, kind: 'chat', inReplyTo: row.origin_seq ?? undefined, content: { text: KILLED } }],
        turn: { id: row.id, state: 'failed', steps: row.steps, error: KILLED },
        state: VOID,
      });
      return undefined;
    }
    outbox.commit({
      state: { [RESUME_STATE]: { turn: row.id, step: row.steps, count } satisfies ResumeState, [CHECKPOINT_STATE]: undefined },
    });
    const waitMs = count < 2 ? 0 : this.#deps.retryMs * 2 ** (count - 2);
    return { row, interruptions: count, dueAt: clock.now() + waitMs };
  }
}
