import type { AgentGroup } from '@dovecote/crds';
import type { usage } from '@dovecote/proto';
import type { Clock } from '../../lib/clock.ts';

interface Room {
  readonly requests: number;
  /** ms since 1970 */
  readonly until: number;
  /** of the AgentGroup: another budget is another room */
  readonly generation: number | undefined;
  /** of the question that this answers: a later one's answer stands */
  readonly question: number;
}

/** A question to delivery, as it is asked: its answer counts from then, or it would outlast what delivery set aside. */
export interface Question {
  readonly number: number;
  readonly at: number;
}

/** How far this process may run ahead of delivery's ledger, by agent. A cache: without it each request waits for its row. */
export class Headroom {
  readonly #clock: Clock;
  readonly #rooms = new Map<string, Room>();
  /** requests that began and are not known to be rows, by the uid of their agent */
  readonly #ahead = new Map<string, Set<string>>();
  #questions = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True: the request may begin before it is a row. */
  take({ metadata: { uid, generation } }: AgentGroup, requestId: string): boolean {
    const room = this.#rooms.get(uid);
    const ahead = this.#ahead.get(uid) ?? new Set();
    if (room === undefined || room.generation !== generation || room.until <= this.#clock.now() || ahead.size >= room.requests)
      return false;
    this.#ahead.set(uid, ahead.add(requestId));
    return true;
  }

  /** It is a row, or never will be. */
  settled({ metadata: { uid } }: AgentGroup, requestId: string): void {
    const ahead = this.#ahead.get(uid);
    if (ahead?.delete(requestId) && ahead.size === 0) this.#ahead.delete(uid);
  }

  ask(): Question {
    this.#questions += 1;
    return { number: this.#questions, at: this.#clock.now() };
  }

  answered({ metadata: { uid, generation } }: AgentGroup, question: Question, headroom: usage.Headroom | undefined): void {
    const { requests, forMs } = headroom ?? { requests: 0, forMs: 0 };
    if (question.number < (this.#rooms.get(uid)?.question ?? 0)) return;
    if (requests === 0) this.#rooms.delete(uid);
    else this.#rooms.set(uid, { requests, until: question.at + forMs, generation, question: question.number });
  }
}
