/** How a turn ends, or is left, in any way but with the model's own last word. Each is one transaction. */
import { type Block, type HeldState, STATE_HELD } from '@dovecote/proto';
import type { ProviderError, TranscriptMessage } from '../providers/provider.ts';
import { ADMINISTRATOR_STATE, type AdministratorWaits, administratorWait, awaitsAdministrator, withoutWait } from './administrator-wait.ts';
import type { Unused } from './reading.ts';
import { refusalSentence, STOPPED } from './sentences.ts';
import type { SessionDeps } from './session-deps.ts';
import { danglingCalls } from './transcript.ts';
import { CHECKPOINT_STATE, type CheckpointState, RESUME_STATE, VOID } from './turn-state.ts';

/**
 * `checkpointed`: cut at a step by a drain; the next process goes on with it. `held`: refused after a step for what somebody else can
 * mend; it goes on after that.
 */
export type TurnOutcome = 'ended' | 'checkpointed' | 'held';

/** Where a turn stands when it ends. */
export interface Standing {
  readonly id: string;
  /** finished ones */
  readonly steps: number;
  /** the name of its next model call, over processes */
  readonly call: string;
  readonly replyTo: number | undefined;
  readonly unused: Unused;
}

/** The model would go on and on: people get a sentence instead. */
export function endGuarded(sentence: string, { id, steps, replyTo }: Standing, { outbox, transcript }: SessionDeps): TurnOutcome {
  transcript.forget();
  outbox.commit({
    history: [{ turn: id, step: steps, role: 'assistant', blocks: [{ type: 'text', text: sentence }] }],
    out: [{ id: `${id}/${steps}/end`, kind: 'chat', inReplyTo: replyTo, content: { text: sentence } }],
    turn: { id, state: 'done', steps, error: sentence },
    state: VOID,
  });
  return 'ended';
}

/** Stopped by these control rows: what the turn read is done, the model learns that it was stopped. */
export function endStopped(
  stops: readonly number[],
  own: readonly TranscriptMessage[],
  { id, steps, replyTo, unused }: Standing,
  { outbox, transcript }: SessionDeps,
): TurnOutcome {
  const results = danglingCalls(own).map(
    (call): Block => ({ type: 'tool_result', toolUseId: call.id, text: 'Stopped by the user.', isError: true }),
  );
  transcript.forget();
  outbox.commit({
    history: [
      ...(results.length > 0 ? [{ turn: id, step: steps, role: 'tool', blocks: results } as const] : []),
      ...unused.history,
      { turn: id, step: steps + 1, role: 'assistant', blocks: [{ type: 'text', text: '(Stopped by the user.)' }] },
    ],
    settle: { seqs: [...unused.seqs, ...stops], state: 'done', turn: id },
    out: [{ id: `${id}/${steps}/stopped`, kind: 'chat', inReplyTo: stops.at(-1) ?? replyTo, content: { text: STOPPED } }],
    turn: { id, state: 'stopped', steps },
    state: VOID,
  });
  return 'ended';
}

/** The provider refuses. What an administrator can mend waits for that; the rest will never be answered. */
export function endRefused(error: ProviderError, standing: Standing, deps: SessionDeps): TurnOutcome {
  const { id, steps, call, replyTo, unused } = standing;
  const { log, outbox, transcript, clock } = deps;
  log.error({ err: error, reason: error.reason, turn: id }, 'the provider refused a turn');
  transcript.forget();
  const cause = `${error.reason}: ${error.message}`;
  const sentence = refusalSentence(error);
  const waits = (outbox.getState(ADMINISTRATOR_STATE) ?? {}) as AdministratorWaits;
  const wait = awaitsAdministrator(error) ? administratorWait(waits, call, clock.now(), error.retryAfterMs) : undefined;
  if (wait !== undefined) {
    // What no step used stays due, later and later; people are told once.
    outbox.release(id, wait.nextAt, cause, {
      state: { [ADMINISTRATOR_STATE]: wait.waits, ...(steps > 0 && heldAt(standing, wait.nextAt)) },
      out: wait.told ? [] : [{ id: `${id}/${steps + 1}/waits`, kind: 'chat', inReplyTo: replyTo, content: { text: sentence } }],
    });
    return steps > 0 ? 'held' : 'ended';
  }
  outbox.commit({
    settle: { seqs: unused.seqs, state: 'failed', turn: id, error: sentence },
    // A failed chat message is what delivery tells people about, with this error: one sentence, not two.
    out: unused.asked ? [] : [{ id: `${id}/${steps + 1}/refused`, kind: 'chat', inReplyTo: replyTo, content: { text: sentence } }],
    turn: { id, state: 'failed', steps, error: cause },
    state: { ...VOID, [ADMINISTRATOR_STATE]: withoutWait(waits, call) },
  });
  return 'ended';
}

/** A turn that has finished steps is kept, whatever process goes on with it: nothing has died in this one. */
function heldAt({ id, steps }: Standing, until: number): Readonly<Record<string, unknown>> {
  return {
    [STATE_HELD]: { turn: id, until } satisfies HeldState,
    [CHECKPOINT_STATE]: { turn: id, step: steps } satisfies CheckpointState,
    [RESUME_STATE]: undefined,
  };
}

/** Leaves the turn for the next process; what no step used becomes due again (ms since 1970; 0: at once). */
export function checkpoint(nextTryAt: number, { id, steps, unused }: Standing, { outbox }: SessionDeps): TurnOutcome {
  if (unused.seqs.length > 0 || steps === 0) outbox.release(id, nextTryAt, 'released by a drain before its first step');
  if (steps === 0) return 'ended';
  outbox.commit({ state: { [CHECKPOINT_STATE]: { turn: id, step: steps } satisfies CheckpointState } });
  return 'checkpointed';
}
