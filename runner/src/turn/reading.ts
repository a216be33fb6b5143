/** What a turn reads: the rows that it has claimed, as the model will see them, until a finished step has used them. */
import { type Batch, type Place, type Projection, unlessPassing } from '../inbox/inbox.ts';
import type { NewHistory } from '../outbox/outbox.ts';
import { attachmentBlocks, renderInbound, renderNote } from '../prompts/inbound-message.ts';
import type { SessionDeps } from './session-deps.ts';

/** Claimed rows that no finished step has used. */
export interface Unused {
  readonly seqs: readonly number[];
  readonly history: readonly NewHistory[];
  /** somebody in a chat waits for an answer to one of them */
  readonly asked: boolean;
}

const NOTHING: Unused = { seqs: [], history: [], asked: false };

export class Reading {
  readonly #deps: SessionDeps;
  readonly #turn: string;
  /** seq of the row that began the turn; 0: none that anyone sent */
  readonly origin: number;
  readonly #place: Place;
  #replyTo: number | undefined;
  #unused = NOTHING;
  #interruptions = 0;

  constructor(
    deps: SessionDeps,
    turn: string,
    start: { readonly origin: number; readonly place: Place; readonly replyTo?: number | undefined },
  ) {
    this.#deps = deps;
    this.#turn = turn;
    this.origin = start.origin;
    this.#place = start.place;
    this.#replyTo = start.replyTo;
  }

  get unused(): Unused {
    return this.#unused;
  }
  /** The inbound row that the turn answers; undefined: nobody in a chat asked. */
  get replyTo(): number | undefined {
    return this.#replyTo;
  }
  /** How often a process died with one of the rows claimed here. */
  get interruptions(): number {
    return this.#interruptions;
  }

  /** Messages that arrived meanwhile join the turn: claimed now, done with the step that reads them. */
  join(projection: Projection, step: number): void {
    const batch = unlessPassing(() => this.#deps.inbox.joining(this.#deps.clock.now(), this.#place));
    if (batch !== undefined) this.take(batch, projection, step);
  }

  take(batch: Batch, projection: Projection, step: number): void {
    const { inbox, outbox, reached } = this.#deps;
    const { agent } = projection;
    const seqs = [...batch.leftOut, ...batch.rows.map((row) => row.seq)];
    reached('runner/after-read-before-claim');
    outbox.claim({ id: this.#turn, provider: agent.provider, model: agent.model, origin: this.origin }, seqs);
    reached('runner/after-claim');
    this.#interruptions = Math.max(this.#interruptions, ...batch.rows.map((row) => row.interrupted));
    // Delivery edits rows in place until it sees the claim: what stands there now is what the model reads.
    const reread = unlessPassing(() => inbox.reread(batch.rows.map((row) => row.seq))) ?? batch.rows;
    const rows = reread.filter((row) => row.status === 'pending'); // one that was deleted meanwhile is done unread
    const view = { ...projection, attachmentsDir: this.#deps.promptBase().attachments };
    const history: NewHistory[] = [
      ...(batch.leftOut.length > 0 ? [this.note(step, `${batch.leftOut.length} earlier messages of this chat are left out.`)] : []),
      ...rows.map(
        (row): NewHistory => ({
          turn: this.#turn,
          step,
          role: 'user',
          blocks: [{ type: 'text', text: renderInbound(row, view) }, ...attachmentBlocks(row, view)],
          inSeq: row.seq,
        }),
      ),
    ];
    for (const row of rows) if (row.trigger === 1 && row.channel !== null) this.#replyTo = row.seq;
    const asked = this.#unused.asked || rows.some((row) => row.trigger === 1 && row.kind === 'chat' && row.channel !== null);
    this.#unused = { seqs: [...this.#unused.seqs, ...seqs], history: [...this.#unused.history, ...history], asked };
  }

  /** A step is committed that used all of it; `next` is what the model is told before it goes on. */
  used(next: readonly NewHistory[]): void {
    this.#unused = { ...NOTHING, history: next };
    this.#interruptions = 0;
  }

  note(step: number, text: string): NewHistory {
    return { turn: this.#turn, step, role: 'user', blocks: [{ type: 'text', text: renderNote(text) }] };
  }
}
