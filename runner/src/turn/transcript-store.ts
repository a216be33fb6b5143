import type { Outbox } from '../outbox/outbox.ts';
import type { TranscriptMessage } from '../providers/provider.ts';
import { cutPoint, toMessages } from './transcript.ts';

const FROM_STATE = 'transcript_from';
/** A transcript below this is not why a provider refuses. */
const SHORT_CHARS = 50_000;

/**
 * The transcript as it is in the file, begun late enough to fit the model. Kept in memory from turn to turn, as reading a
 * long one takes longer than all else that a message needs; dropped whenever a turn ends in any way but the plain one.
 */
export class TranscriptStore {
  readonly #outbox: Outbox;
  readonly #limitChars: number;
  #messages: TranscriptMessage[] | undefined;
  #chars = 0;

  constructor(outbox: Outbox, limitChars: number) {
    this.#outbox = outbox;
    this.#limitChars = limitChars;
  }

  /** Oldest first. `running`: the turn whose calls without a result are about to run. */
  load(running: string): readonly TranscriptMessage[] {
    if (this.#messages === undefined || this.#chars > this.#limitChars) this.#messages = this.#read(running);
    return this.#messages;
  }

  /** What was just committed. */
  append(messages: readonly TranscriptMessage[]): void {
    this.#messages?.push(...messages);
    this.#chars += size(messages);
  }

  forget(): void {
    this.#messages = undefined;
  }

  /** Leaves the older half out from now on. False: it is short already, or of one turn alone. */
  shorten(running: string): boolean {
    if (this.#chars < SHORT_CHARS) return false;
    const from = this.#from();
    const cut = cutPoint(this.#outbox.history(from), this.#chars - 1);
    if (cut === undefined) return false;
    this.#outbox.commit({ state: { [FROM_STATE]: cut } });
    this.#messages = this.#read(running);
    return true;
  }

  #from(): number {
    return Number(this.#outbox.getState(FROM_STATE) ?? 0);
  }

  #read(running: string): TranscriptMessage[] {
    let rows = this.#outbox.history(this.#from());
    const cut = cutPoint(rows, this.#limitChars);
    if (cut !== undefined) {
      this.#outbox.commit({ state: { [FROM_STATE]: cut } });
      rows = rows.filter((row) => row.id >= cut);
    }
    const messages = [...toMessages(rows, running)];
    this.#chars = size(messages);
    return messages;
  }
}

function size(messages: readonly TranscriptMessage[]): number {
  return messages.reduce((sum, message) => sum + JSON.stringify(message.blocks).length, 0);
}
