import type { Change, Outbox } from '../outbox/outbox.ts';
import { renderSummary } from '../prompts/summary.ts';
import type { TranscriptMessage } from '../providers/provider.ts';
import { cutPoint, toMessages } from './transcript.ts';

/** The history id at which the transcript begins. */
const FROM_STATE = 'transcript_from';
/** What stands for the rows before that. */
const SUMMARY_STATE = 'summary';

interface SummaryState {
  readonly text: string;
  /** history id below which it tells everything */
  readonly upTo: number;
}

/** The beginning of the transcript that is to go. */
export interface Older {
  /** history id at which what stays begins */
  readonly from: number;
  readonly messages: readonly TranscriptMessage[];
}

/**
 * The transcript as it is in the file: what stands for its beginning, then the rest word for word. Kept in memory from turn to
 * turn, as reading a long one takes longer than all else that a message needs; dropped whenever a turn ends in any way but the
 * plain one.
 */
export class TranscriptStore {
  readonly #outbox: Outbox;
  #messages: TranscriptMessage[] | undefined;
  #chars = 0;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** Oldest first. `running`: the turn whose calls without a result are about to run. */
  load(running: string | undefined): readonly TranscriptMessage[] {
    if (this.#messages === undefined) {
      this.#messages = [...this.#beginning(), ...toMessages(this.#outbox.history(this.#from()), running)];
      this.#chars = size(this.#messages);
    }
    return this.#messages;
  }

  /** Characters of what `load` gave last. */
  get chars(): number {
    return this.#chars;
  }

  /** What was just committed. */
  append(messages: readonly TranscriptMessage[]): void {
    this.#messages?.push(...messages);
    this.#chars += size(messages);
  }

  forget(): void {
    this.#messages = undefined;
  }

  /** What must go so that the rest has at most `limit` characters, 0: all of it. undefined: it fits, or is of one step alone. */
  older(limit: number): Older | undefined {
    const rows = this.#outbox.history(this.#from());
    const last = rows.at(-1);
    const from = limit === 0 ? last && last.id + 1 : cutPoint(rows, limit);
    if (from === undefined) return undefined;
    const gone = rows.filter((row) => row.id < from);
    return { from, messages: [...this.#beginning(), ...toMessages(gone, undefined)] };
  }

  /** Lets the transcript begin there, in one commit with `change`. Without a summary the one before stays. Rows are never removed. */
  cut(from: number, summary: string | undefined, change: Change): void {
    const state = {
      [FROM_STATE]: from,
      ...(summary !== undefined && { [SUMMARY_STATE]: { text: summary, upTo: from } satisfies SummaryState }),
    };
    this.#outbox.commit({ ...change, state: { ...change.state, ...state } });
    this.forget();
  }

  #beginning(): readonly TranscriptMessage[] {
    const summary = this.#outbox.getState(SUMMARY_STATE) as SummaryState | undefined;
    return summary === undefined ? [] : [{ role: 'user', turn: '', blocks: [{ type: 'text', text: renderSummary(summary.text) }] }];
  }

  #from(): number {
    return Number(this.#outbox.getState(FROM_STATE) ?? 0);
  }
}

function size(messages: readonly TranscriptMessage[]): number {
  return messages.reduce((sum, message) => sum + JSON.stringify(message.blocks).length, 0);
}
