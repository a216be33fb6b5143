import type { InboundAnswer } from '@dovecote/proto';
import { type Inbox, unlessPassing } from '../inbox/inbox.ts';
import type { Bell } from '../lifecycle/bell.ts';
import type { Clock } from '../lifecycle/clock.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';

/** Doorbells may be lost: this finds what they announced. */
const POLL_MS = 1_000;
const PASSING_MS = 5;

export interface FoundAnswer {
  /** of the inbound row, which is done once the tool's result is committed */
  readonly seq: number;
  /** display name of who chose */
  readonly by: string;
  readonly answer: InboundAnswer;
}

/**
 * The choice that somebody makes on a question until then (ms since 1970), or undefined. A choice that is there already counts,
 * also when the time is over. Throws WaitCutError at a drain, the signal's reason when aborted.
 */
export async function waitForAnswer(
  questionId: string,
  until: number,
  { signal, drain, ...deps }: { inbox: Inbox; bell: Bell; clock: Clock; signal: AbortSignal; drain: AbortSignal },
): Promise<FoundAnswer | undefined> {
  for (;;) {
    const heard = deps.bell.count;
    const now = deps.clock.now();
    const found = unlessPassing(() => deps.inbox.answerTo(questionId, now) ?? 'none');
    if (found !== undefined && found !== 'none') return found;
    signal.throwIfAborted();
    if (found !== undefined && now >= until) return undefined;
    if (drain.aborted) throw new WaitCutError('an answer', 0);
    const ms = found === undefined ? PASSING_MS : Math.min(POLL_MS, until - now);
    await deps.bell.wait(heard, ms, AbortSignal.any([signal, drain]));
  }
}
