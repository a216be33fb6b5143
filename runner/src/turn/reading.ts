/** What a turn reads: the rows that it has claimed, as the model will see them, until a finished step has used them. */
import type { InboundContent, MessageInRow } from '@dovecote/proto';
import { type Batch, type DueRow, type Place, type Projection, unlessPassing } from '../inbox/inbox.ts';
import type { NewHistory } from '../outbox/outbox.ts';
import { attachmentBlocks, renderInbound, renderNote } from '../prompts/inbound-message.ts';
import type { TurnDeps } from './session-deps.ts';

/** Claimed rows that no finished step has used. */
export interface Unused {
  readonly seqs: readonly number[];
  readonly history: readonly NewHistory[];
  /** somebody in a chat waits for an answer to one of them */
  readonly asked: boolean;
}

const NOTHING: Unused = { seqs: [], history: [], asked: false };

export class Reading {
  readonly #deps: TurnDeps;
  readonly #turn: string;
  /** seq of the row that began the turn; 0: none that anyone sent */
  readonly origin: number;
  readonly #place: Place;
  #replyTo: number | undefined;
  #unused = NOTHING;
  #interruptions = 0;

  constructor(
    deps: TurnDeps,
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
    const { outbox, reached } = this.#deps;
    const { agent } = projection;
    const seqs = [...batch.leftOut, ...batch.rows.map((row) => row.seq)];
    reached('runner/after-read-before-claim');
    const { rows } = batch;
    outbox.claim({ id: this.#turn, provider: agent.provider, model: agent.model, origin: this.origin }, seqs, () =>
      this.#compare(rows, step),
    );
    reached('runner/after-claim');
    this.#interruptions = Math.max(this.#interruptions, ...rows.map((row) => row.interrupted));
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
    history.push(...this.#deps.unseenChanges.splice(0).map((change) => this.note(step, change)));
    for (const row of rows) if (row.trigger === 1 && row.channel !== null) this.#replyTo = row.seq;
    const asked = this.#unused.asked || rows.some((row) => row.trigger === 1 && row.kind === 'chat' && row.channel !== null);
    this.#unused = { seqs: [...this.#unused.seqs, ...seqs], history: [...this.#unused.history, ...history], asked };
  }

  /** Delivery edits rows in place until it sees the claim: what it changed between our reading and that is told. */
  #compare(read: readonly DueRow[], step: number): void {
    const { inbox, outbox, unseenChanges } = this.#deps;
    const current = unlessPassing(() => inbox.reread(read.map((row) => row.seq)));
    if (current === undefined) {
      outbox.soon(() => this.#compare(read, step)); // it met a commit of delivery's
      return;
    }
    const now = new Map(current.map((row) => [row.seq, row]));
    const changes = read.filter((row) => now.get(row.seq)?.content !== row.content).map(({ seq }) => changeOf(seq, now.get(seq)));
    if (this.#unused.seqs.length === 0) unseenChanges.push(...changes);
    else this.#unused = { ...this.#unused, history: [...this.#unused.history, ...changes.map((change) => this.note(step, change))] };
  }

  /** A step is committed that used all of it; `next` is what the model is told before it goes on. */
  used(next: readonly NewHistory[]): void {
    this.#unused = { ...NOTHING, history: next };
    this.#interruptions = 0;
  }

  /** The model is told with what it reads next, though nobody in a chat said it. */
  mention(step: number, text: string): void {
    this.#unused = { ...this.#unused, history: [...this.#unused.history, this.note(step, text)] };
  }

  note(step: number, text: string): NewHistory {
    return { turn: this.#turn, step, role: 'user', blocks: [{ type: 'text', text: renderNote(text) }] };
  }
}

function changeOf(seq: number, row: MessageInRow | undefined): string {
  const text = row === undefined || row.status !== 'pending' ? undefined : (JSON.parse(row.content) as Partial<InboundContent>).text;
  return text === undefined
    ? `Message ${seq} was deleted while you read it.`
    : `Message ${seq} was edited while you read it. It now reads: ${text}`;
}
