/**
 * Hop 8 of a message's path: what a session wrote into outbound.db is taken into the ledger of inbound.db and delivered through the
 * gateway, each row once and in order per chat. Before this hop: the runner's step and its doorbell. After it: `gateway/platform`.
 */
import type { platform } from '@dovecote/proto';
import type { Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import { toError } from '../../lib/errors.ts';
import type { TokenSource } from '../../lib/identity.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { TaskGroup } from '../../lib/task-group.ts';
import { CellMissingError, type Cells } from '../cells/cells.ts';
import { type Channels, type Destinations, parseLane } from './address.ts';
import { Alarms } from './alarms.ts';
import { type ClaimContext, claimHead } from './claim.ts';
import type { Claim } from './claimed.ts';
import { addNotice, type DeadLetter, listDeadLetters, retryDeadLetter } from './dead-letters.ts';
import { call, cleanUp, type DeliverDeps, keepsFiles, record } from './deliver.ts';
import { Effects } from './effects.ts';
import { Lanes } from './lanes.ts';
import * as ledger from './ledger.ts';
import { createOutboxMetrics, type OutboxMetrics } from './metrics.ts';
import { listOutboxFolders, removeOutboxFolder } from './outbox-file.ts';
import { DEFAULT_OUTBOX_LIMITS, type OutboxLimits } from './outbox-limits.ts';
import { PlatformCalls } from './platform-call.ts';
import { RateLimiter } from './rate-limit.ts';
import { type OutboxRead, SessionReader } from './session-reader.ts';
import { SessionState } from './session-state.ts';
import { Slots } from './slots.ts';

export type { OutboxRead } from './session-reader.ts';

export interface Notice {
  readonly id: string;
  readonly channel: string;
  readonly chat: string;
  readonly thread?: string | undefined;
  readonly text: string;
}

export interface Outbox {
  /**
   * Reads what is new in the session's outbound.db: acks go to messages_in, rows to the ledger and on their way. Cheap when nothing
   * changed. Never throws for what the agent did to its file: that is told by onHostile, and harms its own session alone. Throws for
   * the host's own trouble: CellMissingError, a full disk; nothing is lost then, the next read takes it.
   */
  read(session: string): Promise<OutboxRead>;
  /** Says something to people in the host's own name. Durable when it resolves; said once per id. Throws as `read`. */
  notice(session: string, notice: Notice): Promise<void>;
  /** Rows neither delivered nor dead, but for those that were asked for later: what sleep must wait for. */
  open(session: string): number;
  /** At start, for each session: what was interrupted will be settled, waiting rows get their timers, sent files are removed. */
  resume(session: string): Promise<void>;
  /** Rows and messages that were given up, both directions, newest first. */
  deadLetters(session: string, limit: number): readonly DeadLetter[];
  /**
   * Tries a dead letter again, durably. Answers its seq; that of an inbound one is new, and its session is to be woken by the caller.
   * undefined: there is no such dead letter.
   */
  retry(session: string, seq: number): Promise<number | undefined>;
  /** Takes no new work; calls in hand get a while to end, and are settled at the next start if they do not. */
  close(): Promise<void>;
}

export interface OutboxDeps {
  readonly cells: Pick<Cells, 'open' | 'release'>;
  readonly platform: platform.PlatformClient;
  readonly tokens: TokenSource;
  readonly channels: Channels;
  readonly destinations: Destinations;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly reached: Reached;
  /** The session's outbound.db is at fault and is not read. Called once per fault, not once per look. */
  readonly onHostile: (session: string, error: Error) => void;
  /** What was told by onHostile is over: its file could be read again. */
  readonly onMended?: (session: string) => void;
  /** The conversation has another title, which is durable. Must not throw. */
  readonly onTitled?: (session: string, title: string) => void;
  /** Rows of either file, by seq, that viewers show otherwise now. After the commit. */
  readonly onChanged: (session: string, seqs: readonly number[]) => void;
  /** Absent: answers are never shown before they are whole. */
  readonly previewOf?: ClaimContext['previewOf'];
  /** Shared with whoever else calls platforms; made here when absent. */
  readonly limiter?: RateLimiter;
  readonly limits?: Partial<OutboxLimits>;
}

export function createOutbox(deps: OutboxDeps): Outbox {
  return new LedgerOutbox(deps);
}

/** When rows are left in the file, and after an error of ours. */
const LOOK_AGAIN_MS = 1_000;
const RECORD_AGAIN_MS = 1_000;
const MAX_OUTBOX_FOLDERS = 1_000;

class LedgerOutbox implements Outbox {
  readonly #deps: OutboxDeps;
  readonly #limits: OutboxLimits;
  readonly #metrics: OutboxMetrics;
  readonly #deliver: DeliverDeps;
  readonly #lanes: Lanes<Claim>;
  readonly #alarms: Alarms;
  readonly #tasks = new TaskGroup();
  readonly #reader: SessionReader;
  readonly #sessions = new Map<string, SessionState>();
  readonly #background = new Set<Promise<unknown>>();
  readonly #previewOf: ClaimContext['previewOf'];

  constructor(deps: OutboxDeps) {
    this.#previewOf = deps.previewOf ?? ((): undefined => undefined);
    const { clock, channels, random, reached, log } = deps;
    this.#deps = deps;
    this.#limits = { ...DEFAULT_OUTBOX_LIMITS, ...deps.limits };
    this.#metrics = createOutboxMetrics(deps.registry);
    const limits = this.#limits;
    const calls = new PlatformCalls({ client: deps.platform, tokens: deps.tokens, clock, limits });
    this.#deliver = { calls, channels, clock, random, reached, limits, metrics: this.#metrics };
    this.#lanes = new Lanes<Claim>({
      slots: new Slots({ max: limits.maxCalls, maxPerChannel: limits.maxCallsPerChannel }),
      limiter: deps.limiter ?? new RateLimiter(channels, clock),
      log,
      work: {
        isDue: (session, lane) => this.#isDue(session, lane),
        claim: (session, lane) => this.#commit(session, (context) => claimHead(context, lane)),
        perform: (claim, mayGoOn, signal) => this.#perform(claim, mayGoOn, signal),
        stopped: (session, lane) => this.#onStopped(session, lane),
      },
    });
    this.#reader = new SessionReader({
      cells: deps.cells,
      clock,
      limits,
      metrics: this.#metrics,
      reached,
      commit: (session, work) => this.#commit(session, work),
      tryEnter: (session, lane) => this.#lanes.tryEnter(session, lane),
      onUnchanged: (session) => this.#pump(session),
      onFault: (session, fault) => this.#onFault(session, fault),
      onMended: (session) => deps.onMended?.(session),
      onTitled: (session, title) => deps.onTitled?.(session, title),
      lookAgain: (session) => this.#lookAgain(session, clock.now() + LOOK_AGAIN_MS),
    });
    this.#alarms = new Alarms(clock, (session) => this.#onAlarm(session));
    this.#tasks.run('outbox alarms', (signal) => this.#alarms.run(signal));
  }

  read(session: string): Promise<OutboxRead> {
    return this.#reader.read(session, this.#state(session), this.#tasks.signal);
  }

  async notice(session: string, notice: Notice): Promise<void> {
    this.#state(session);
    this.#commit(session, ({ cell, now, fx }) => {
      const { id, channel, chat, thread = null, text } = notice;
      return addNotice({ session, db: cell.inbound, now, fx }, { id, channel, chat, thread, text });
    });
  }

  open(session: string): number {
    this.#state(session);
    return ledger.countOpen(this.#deps.cells.open(session).inbound, this.#deps.clock.now());
  }

  async resume(session: string): Promise<void> {
    this.#state(session);
    const { inbound, paths } = this.#deps.cells.open(session);
    for (const seq of listOutboxFolders(paths.out, MAX_OUTBOX_FOLDERS)) {
      const row = ledger.find(inbound, seq);
      if (row?.state === 'delivered' && !keepsFiles(this.#deps.channels, parseLane(row.lane).channel)) removeOutboxFolder(paths.out, seq);
    }
    this.#pump(session);
  }

  deadLetters(session: string, limit: number): readonly DeadLetter[] {
    return listDeadLetters(this.#deps.cells.open(session).inbound, limit);
  }

  async retry(session: string, seq: number): Promise<number | undefined> {
    this.#state(session);
    return this.#commit(session, ({ cell, now, fx }) => retryDeadLetter({ session, db: cell.inbound, now, fx }, seq));
  }

  async close(): Promise<void> {
    const { clock } = this.#deps;
    await this.#lanes.close(async (running) => {
      const over = new AbortController();
      const grace = clock.sleep(this.#limits.closeMs, over.signal).catch(() => {});
      await Promise.race([running, grace]);
      over.abort();
      await grace;
    });
    await this.#tasks.close();
    await this.#reader.idle();
    await Promise.allSettled(this.#background);
  }

  /** The first touch of a session by this process: nobody of ours is sending, so whoever was, is no more. */
  #state(session: string): SessionState {
    const known = this.#sessions.get(session);
    if (known !== undefined) return known;
    const now = this.#deps.clock.now();
    const { inbound } = this.#deps.cells.open(session);
    const interrupted = ledger.interrupted(inbound, now);
    const state = new SessionState(this.#limits, now);
    this.#sessions.set(session, state);
    if (interrupted.length > 0) {
      this.#deps.log.warn({ session, seqs: interrupted }, 'rows were being sent when delivery stopped, they are settled first');
      this.#tellChanged(session, interrupted);
      this.#pump(session);
    }
    return state;
  }

  #isDue(session: string, lane: string): boolean {
    const now = this.#deps.clock.now();
    const row = ledger.head(this.#deps.cells.open(session).inbound, lane, now);
    return row !== undefined && row.state !== 'sending' && row.next_attempt_at <= now;
  }

  async #perform(claim: Claim, mayGoOn: () => boolean, signal: AbortSignal): Promise<Claim | undefined> {
    const { cells, clock, log } = this.#deps;
    const { session, lane } = claim;
    const { paths, meta } = cells.open(session);
    const { out } = paths;
    const outcome = await call(this.#deliver, claim, out, signal);
    // Cut off by our own end, it says nothing of what becomes of the call: the row is left as after a crash.
    if (signal.aborted && (outcome.result.type === 'maybe' || outcome.result.type === 'later')) signal.throwIfAborted();
    for (;;) {
      try {
        const next = this.#commit(session, (context) => {
          // A lost cell, begun anew under the same name: there the seq is another row's.
          if (context.cell.meta.created_at !== meta.created_at)
            throw new CellMissingError(`cannot record a delivery of ${session}: its cell is another one`);
          record(this.#deliver, context.cell, claim, outcome, context.now, context.fx);
          context.fx.lanes.delete(lane); // this lane goes on by itself
          const head = ledger.head(context.cell.inbound, lane, context.now);
          const due = head !== undefined && head.next_attempt_at <= context.now;
          return due && mayGoOn() ? claimHead(context, lane) : undefined;
        });
        cleanUp(this.#deliver, claim, outcome, out);
        return next;
      } catch (thrown) {
        if (thrown instanceof CellMissingError) throw thrown; // the session was removed: there is nobody to record it for
        // What came of the call is known here alone: without the record it would have to be asked of the platform.
        log.error({ session, seq: claim.row.seq, err: toError(thrown) }, 'outcome of a delivery could not be recorded, it is tried again');
        await clock.sleep(RECORD_AGAIN_MS, signal);
      }
    }
  }

  /** An error of ours ended the lane. What it was sending is nobody's now, as after a crash. */
  #onStopped(session: string, lane: string): void {
    const { clock, log } = this.#deps;
    this.#lookAgain(session, clock.now() + LOOK_AGAIN_MS);
    try {
      this.#commit(session, ({ cell, now, fx }) => {
        for (const seq of ledger.interrupted(cell.inbound, now + LOOK_AGAIN_MS, lane)) fx.changed.add(seq);
      });
    } catch (thrown) {
      log.error({ session, lane, err: toError(thrown) }, 'what was being sent is not known until the next start');
    }
  }

  /** Wakes every lane in which something may be due, and sets the timer for the rest. */
  #pump(session: string): void {
    const now = this.#deps.clock.now();
    const { inbound } = this.#deps.cells.open(session);
    for (const lane of ledger.dueLanes(inbound, now)) this.#lanes.wake(session, lane);
    this.#arm(session);
  }

  #lookAgain(session: string, at: number): void {
    const state = this.#sessions.get(session);
    if (state === undefined) return;
    state.lookAgainAt = Math.min(at, state.lookAgainAt ?? at);
    this.#alarms.set(session, Math.min(at, this.#alarms.get(session) ?? at));
  }

  #arm(session: string): void {
    const due = ledger.nextDue(this.#deps.cells.open(session).inbound, this.#deps.clock.now());
    const again = this.#sessions.get(session)?.lookAgainAt;
    this.#alarms.set(session, due === undefined || again === undefined ? (due ?? again) : Math.min(due, again));
  }

  #onAlarm(session: string): void {
    const state = this.#sessions.get(session);
    if (state !== undefined) state.lookAgainAt = undefined;
    try {
      this.#pump(session);
    } catch (thrown) {
      if (thrown instanceof CellMissingError) {
        this.#sessions.delete(session); // the session was removed
        return;
      }
      this.#deps.log.error({ session, err: toError(thrown) }, 'waiting rows could not be looked at, they are looked at again');
      this.#lookAgain(session, this.#deps.clock.now() + LOOK_AGAIN_MS);
      return;
    }
    if (this.#sessions.get(session)?.rowsLeft !== true) return;
    const reading = this.read(session).catch((thrown: unknown) => {
      this.#deps.log.error({ session, err: toError(thrown) }, 'outbound file could not be taken, it is read again');
    });
    this.#background.add(reading);
    reading.then(() => this.#background.delete(reading));
  }

  /** One durable commit, then what follows from it: sending first, because someone waits for that. */
  #commit<T>(session: string, work: (context: ClaimContext) => T): T {
    const { cells, clock, destinations, random } = this.#deps;
    const cell = cells.open(session);
    const fx = new Effects();
    const context: ClaimContext = { cell, destinations, limits: this.#limits, random, now: clock.now(), fx, previewOf: this.#previewOf };
    let result: T;
    try {
      result = cell.inbound.transaction(() => work(context)).immediate();
    } catch (thrown) {
      for (const lane of fx.entered.keys()) this.#lanes.leave(session, lane);
      throw thrown;
    }
    try {
      this.#follow(session, fx);
    } catch (thrown) {
      // It is committed: whoever took this for a failure would do it twice.
      this.#deps.log.error({ session, err: toError(thrown) }, 'work after a commit failed, the rows are looked at again');
      this.#lookAgain(session, clock.now() + LOOK_AGAIN_MS);
    }
    return result;
  }

  #follow(session: string, fx: Effects): void {
    for (const [lane, claim] of fx.entered) {
      if (claim === undefined) this.#lanes.leave(session, lane);
      else this.#lanes.start(session, lane, claim);
    }
    for (const lane of fx.lanes) this.#lanes.wake(session, lane);
    if (fx.lookAgainAt !== undefined) this.#lookAgain(session, fx.lookAgainAt);
    this.#arm(session);
    this.#account(session, fx);
    if (fx.changed.size > 0) this.#tellChanged(session, [...fx.changed]);
    if (fx.fault !== undefined) this.#onFault(session, fx.fault);
  }

  #account(session: string, { dead, failed }: Effects): void {
    const { log } = this.#deps;
    for (const { seq, reason } of dead) {
      this.#metrics.outcomes.inc({ outcome: 'dead' });
      log.warn({ session, seq, reason }, 'message is given up');
    }
    for (const { seq, attempts, reason } of failed)
      log.info({ session, seq, attempts, reason }, 'message did not get through, it is tried again');
  }

  #tellChanged(session: string, seqs: readonly number[]): void {
    try {
      this.#deps.onChanged(session, seqs);
    } catch (thrown) {
      this.#deps.log.error({ session, err: toError(thrown) }, 'viewers could not be told of a change');
    }
  }

  #onFault(session: string, fault: Error): void {
    const { cells, log, onHostile } = this.#deps;
    // After a failed read the handle may keep a lock on the agent's file. A cell that is opened anew is checked anew.
    cells.release(session);
    const state = this.#sessions.get(session);
    if (state?.fault === fault.message) return;
    if (state !== undefined) state.fault = fault.message;
    this.#metrics.faults.inc();
    log.warn({ session, err: fault }, 'outbound file is at fault and is not read');
    onHostile(session, fault);
  }
}
