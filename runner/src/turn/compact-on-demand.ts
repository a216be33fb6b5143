import type { DueRow } from '../inbox/inbox.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import { ProviderError } from '../providers/provider.ts';
import { compact } from './compact.ts';
import type { Drain } from './drain.ts';
import type { TurnOutcome } from './endings.ts';
import { CANNOT_COMPACT, NOTHING_TO_COMPACT, STOPPED } from './sentences.ts';
import type { SessionDeps } from './session-deps.ts';
import { VOID } from './turn-state.ts';

/** `/compact`: all of the conversation so far is summed up. A turn without steps, so that one that ends its process is counted. */
export class CompactOnDemand {
  readonly id: string;
  readonly #rows: readonly DueRow[];
  readonly #deps: SessionDeps;
  readonly #drain: Drain;
  readonly #stop = new AbortController();
  #stopSeqs: readonly number[] = [];

  constructor(rows: readonly DueRow[], deps: SessionDeps, drain: Drain) {
    this.id = `c${deps.clock.now().toString(36)}${deps.random.id(4)}`;
    this.#rows = rows;
    this.#deps = deps;
    this.#drain = drain;
  }

  stop(seqs: readonly number[]): void {
    this.#stopSeqs = seqs;
    this.#stop.abort(new Error('stopped by the user'));
  }

  /** Rejects only for what ends the process. */
  async run(): Promise<TurnOutcome> {
    const { id } = this;
    const deps = this.#deps;
    const { agent } = deps.projection();
    const seqs = this.#rows.map((row) => row.seq);
    const replyTo = seqs.at(-1);
    const [origin] = seqs;
    deps.outbox.claim({ id, provider: agent.provider, model: agent.model, origin }, seqs);
    const settle = (): { settle: { seqs: readonly number[]; state: 'done'; turn: string } } => ({
      settle: { seqs: [...seqs, ...this.#stopSeqs], state: 'done', turn: id },
    });
    const end = (text: string): void => {
      const out = [{ id: `${id}/0/end`, kind: 'chat', inReplyTo: this.#stopSeqs.at(-1) ?? replyTo, content: { text } } as const];
      deps.outbox.commit({ ...settle(), out, turn: { id, state: 'done', steps: 0 }, state: VOID });
    };
    const working = { phase: 'turn', turn: id, activity: 'model', deadlineMs: 0 } as const;
    deps.report(working);
    try {
      const compacted = await compact(
        {
          provider: await deps.provider(agent.provider),
          agent,
          turn: id,
          limit: 0,
          orCut: false,
          also: { ...settle(), turn: { id, state: 'done', steps: 0 }, state: VOID },
          options: {
            call: `${origin}/1`,
            statusId: `${id}/1/busy`,
            replyTo,
            noProgressMs: agent.noProgressTimeoutMs,
            signal: AbortSignal.any([this.#stop.signal, this.#drain.hard]),
            drain: this.#drain.soft,
            onTry: () => {},
            onEvent: () => deps.report(working),
            onWait: (until) => deps.report({ ...working, phase: 'waiting', deadlineMs: until }),
          },
        },
        deps,
      );
      if (compacted === 'nothing') end(NOTHING_TO_COMPACT);
      if (compacted === 'failed') end(CANNOT_COMPACT);
    } catch (e) {
      if (this.#stop.signal.aborted) end(STOPPED);
      else if (this.#drain.hard.aborted || e instanceof WaitCutError)
        deps.outbox.release(id, e instanceof WaitCutError ? e.nextTryAt : 0, 'released by a drain');
      else if (e instanceof ProviderError) end(CANNOT_COMPACT);
      else throw e;
    } finally {
      deps.report({ phase: 'idle', turn: '', activity: '', deadlineMs: 0 });
    }
    return 'ended';
  }
}
