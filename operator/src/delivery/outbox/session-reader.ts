/** The read side: from outbound.db into the ledger. What it finds is on its way when the commit is done. */
import { join } from 'node:path';
import { HostileFileError, OUTBOUND_DB, type OutboundHeader, peekOutbound, readOutbound } from '@dovecote/proto';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import type { Cell, Cells } from '../cells/cells.ts';
import { modelTitle, setTitle, titleOf } from '../cells/title.ts';
import { type ClaimContext, claimHead, enter } from './claim.ts';
import { setInboundAside } from './dead-letters.ts';
import * as ledger from './ledger.ts';
import type { OutboxMetrics } from './metrics.ts';
import type { OutboxLimits } from './outbox-limits.ts';
import { type Ack, classifyRead, type OutRow, readAcks, readRows } from './read-outbound.ts';
import type { SessionState } from './session-state.ts';

/** What one look at a session's outbound.db found. */
export interface OutboxRead {
  /** of messages_out */
  readonly newRows: number;
  /** seqs of inbound rows that became done */
  readonly done: readonly number[];
  /** inbound rows that the runner gave up; people and the agent have been told */
  readonly failed: readonly { readonly seq: number; readonly error: string }[];
  /** seqs of inbound rows that a turn works on now */
  readonly processing: readonly number[];
}

/** What reading needs of the rest of the outbox. */
export interface ReaderHost {
  readonly cells: Pick<Cells, 'open'>;
  readonly clock: Clock;
  readonly limits: OutboxLimits;
  readonly metrics: OutboxMetrics;
  readonly reached: Reached;
  commit<T>(session: string, work: (context: ClaimContext) => T): T;
  /** Leave to send one row of the lane right now. */
  tryEnter(session: string, lane: string): boolean;
  /** Nothing is new: looks for what a lost wake-up left behind. */
  onUnchanged(session: string): void;
  onFault(session: string, fault: Error): void;
  /** The model has named the conversation. */
  onTitled(session: string, title: string): void;
  /** It was at fault, and could be read. */
  onMended(session: string): void;
  lookAgain(session: string): void;
}

interface Found {
  newRows: number;
  readonly done: number[];
  readonly failed: { seq: number; error: string }[];
}

interface Batch {
  readonly header: OutboundHeader;
  readonly rows: readonly OutRow[];
  readonly acks: readonly Ack[];
  readonly more: boolean;
  /** by the model, when it is another than the one that stands */
  readonly title: string | undefined;
}

const BUSY_TRIES = 20;
const BUSY_WAIT_MS = 10;

export class SessionReader {
  readonly #host: ReaderHost;
  readonly #reading = new Map<string, { readonly now: Promise<OutboxRead>; next: Promise<OutboxRead> | undefined }>();

  constructor(host: ReaderHost) {
    this.#host = host;
  }

  /** The first look is taken before this returns: on the path of a message no turn of the event loop is lost. */
  read(session: string, state: SessionState, signal: AbortSignal): Promise<OutboxRead> {
    const under = this.#reading.get(session);
    if (under !== undefined) {
      // The read under way may have passed the new rows already: one more, shared by all who ask meanwhile.
      const again = (): Promise<OutboxRead> => this.read(session, state, signal);
      under.next ??= under.now.then(again, again);
      return under.next;
    }
    const now = this.#read(session, state, signal).finally(() => this.#reading.delete(session));
    this.#reading.set(session, { now, next: undefined });
    return now;
  }

  /** Resolves when nothing is being read. */
  async idle(): Promise<void> {
    while (this.#reading.size > 0) await Promise.allSettled([...this.#reading.values()].map(({ now }) => now));
  }

  async #read(session: string, state: SessionState, signal: AbortSignal): Promise<OutboxRead> {
    const found: Found = { newRows: 0, done: [], failed: [] };
    for (let busy = 0; ; ) {
      const step = this.#readOnce(session, state, found);
      if (step === 'done' || signal.aborted) break;
      if (step === 'more') {
        await new Promise(setImmediate); // others first: this file may have rows without end
        if (signal.aborted) break;
        continue;
      }
      busy += 1;
      if (busy > BUSY_TRIES) break; // a runner that commits for long, or died in mid-commit: the next look is soon
      try {
        await this.#host.clock.sleep(BUSY_WAIT_MS, signal);
      } catch {
        break; // closing
      }
    }
    return { ...found, processing: state.processing };
  }

  #readOnce(session: string, state: SessionState, found: Found): 'done' | 'more' | 'busy' {
    const { cells, clock, reached, metrics } = this.#host;
    const cell = cells.open(session);
    let batch: Batch | undefined;
    try {
      batch = this.#fetch(cell, state);
    } catch (thrown) {
      const verdict = classifyRead(thrown);
      if (verdict === 'passing') return 'busy';
      this.#host.onFault(session, verdict.fault);
      return 'done';
    }
    if (batch === undefined) {
      this.#host.onUnchanged(session);
      return 'done';
    }
    if (state.fault !== undefined) this.#host.onMended(session);
    state.fault = undefined;
    reached('delivery/after-read-before-sending');
    const { header, rows, acks, more, title } = batch;
    // No commit for a mere claim of a message: it stays pending until the step that uses it is committed.
    if (rows.length > 0 || title !== undefined || acks.some((ack) => ack.state !== 'processing')) this.#take(session, batch, found);
    if (title !== undefined) this.#host.onTitled(session, title);
    for (const row of rows) metrics.rows.inc({ kind: row.kind });
    state.processing = acks.filter((ack) => ack.state === 'processing').map((ack) => ack.inSeq);
    state.allowance.tryTake(clock.now(), rows.length);
    state.rowsLeft = more;
    // Only what was taken whole need not be looked at again.
    state.seen = more ? undefined : header;
    if (!more) return 'done';
    if (this.#room(cells.open(session), state) > 0) return 'more';
    this.#host.lookAgain(session);
    return 'done';
  }

  /** undefined: nothing is new. */
  #fetch(cell: Cell, state: SessionState): Batch | undefined {
    const { limits } = this.#host;
    const header = peekOutbound(join(cell.paths.out, OUTBOUND_DB));
    if (header === undefined || state.hasSeen(header)) return undefined;
    if (header.sizeBytes > limits.maxOutboundBytes)
      throw new HostileFileError(`cannot read outbound.db: it has ${header.sizeBytes} bytes, and the limit is ${limits.maxOutboundBytes}`);
    const outbound = cell.outbound();
    if (outbound === undefined) return undefined;
    const pending = ledger.pending(cell.inbound);
    const cursor = ledger.cursor(cell.inbound);
    const room = this.#room(cell, state);
    return readOutbound(outbound, () => {
      const title = modelTitle(outbound);
      return {
        header,
        ...readRows(outbound, cursor, room, limits),
        acks: readAcks(outbound, pending),
        title: title === titleOf(cell.inbound) ? undefined : title,
      };
    });
  }

  /** How many rows may be taken now. An agent that writes faster than its chats take it waits for itself. */
  #room({ inbound }: Cell, state: SessionState): number {
    const { batchRows, maxOpenRows } = this.#host.limits;
    const allowed = Math.floor(state.allowance.available(this.#host.clock.now()));
    return Math.max(0, Math.min(batchRows, allowed, maxOpenRows - ledger.countWaiting(inbound)));
  }

  /** Acks, new rows and the head of every lane that is free, in one commit. */
  #take(session: string, { rows, acks, title }: Batch, found: Found): void {
    const known = new Map(rows.map((row) => [row.seq, row]));
    const taken = this.#host.commit(session, (base) => {
      const context: ClaimContext = { ...base, known };
      const { fx } = context;
      const changes: Found = { newRows: rows.length, done: [], failed: [] };
      for (const ack of acks) takeAck(context, ack, changes);
      if (title !== undefined) setTitle(context.cell.inbound, title);
      for (const row of rows) enter(context, row);
      for (const lane of [...fx.lanes]) {
        if (!this.#host.tryEnter(session, lane)) continue;
        fx.entered.set(lane, undefined); // before claiming: should that throw, the lane must be left
        fx.entered.set(lane, claimHead(context, lane));
      }
      return changes;
    });
    found.newRows += taken.newRows;
    found.done.push(...taken.done);
    found.failed.push(...taken.failed);
  }
}

function takeAck({ cell, limits, now, fx }: ClaimContext, ack: Ack, changes: Found): void {
  const { inbound: db, session } = cell;
  switch (ack.state) {
    case 'done':
      ledger.inboundDone(db, ack.inSeq, ack.tries);
      fx.changed.add(ack.inSeq);
      changes.done.push(ack.inSeq);
      return;
    case 'failed': {
      const row = ledger.inbound(db, ack.inSeq);
      if (row === undefined) return;
      const error = ack.error ?? 'the runner gave no reason';
      setInboundAside({ session, db, limits, now, fx }, row, ack.tries, error);
      changes.failed.push({ seq: ack.inSeq, error });
      return;
    }
    case 'interrupted':
      if (ledger.inboundInterrupted(db, ack.inSeq, ack.tries, ack.nextTryAt)) fx.changed.add(ack.inSeq);
      return;
    case 'processing':
      return;
  }
}
