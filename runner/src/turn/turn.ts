/** One run of the model loop: steps until the model has nothing more to do, each step one transaction. */
import type { AgentConfig, Block, TurnRow } from '@dovecote/proto';
import { type Batch, type Place, type Projection, unlessPassing } from '../inbox/inbox.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import type { NewHistory } from '../outbox/outbox.ts';
import { attachmentBlocks, renderInbound, renderNote } from '../prompts/inbound-message.ts';
import { systemPrompt } from '../prompts/system-prompt.ts';
import { type Answer, ProviderError, type TranscriptMessage } from '../providers/provider.ts';
import { type AdministratorWait, administratorWait, awaitsAdministrator } from './administrator-wait.ts';
import { callModel, RETRY_STATE } from './call-model.ts';
import { composeAnswer, NO_DESTINATION } from './compose-answer.ts';
import type { Drain } from './drain.ts';
import { loopGuard } from './loop-guard.ts';
import { refusalSentence, STOPPED, TOO_LONG_A_TURN } from './sentences.ts';
import type { SessionDeps } from './session-deps.ts';
import { danglingCalls, interruptedResult, type ToolUse } from './transcript.ts';
import { waitForAnswer } from './wait-for-answer.ts';

/** `checkpointed`: cut at a step by a drain; the next process goes on with it. */
export type TurnOutcome = 'ended' | 'checkpointed';

export const RESUME_STATE = 'resume';
export const CHECKPOINT_STATE = 'checkpoint';

/** The turn's place in the steps at which it was left on purpose: no tool was running. */
export interface CheckpointState {
  readonly turn: string;
  readonly step: number;
}

/** Claimed rows as the model will read them, not yet used by a finished step. */
interface Unused {
  readonly seqs: readonly number[];
  readonly history: readonly NewHistory[];
  /** somebody in a chat waits for an answer to one of them */
  readonly asked: boolean;
}

const NOTHING: Unused = { seqs: [], history: [], asked: false };

export class Turn {
  readonly id: string;
  readonly #deps: SessionDeps;
  readonly #drain: Drain;
  readonly #stop = new AbortController();
  readonly #startedAt: number;
  #unused = NOTHING;
  #steps: number;
  #place: Place = { channel: null, chat: null, thread: null };
  #replyTo: number | undefined;
  #origin: number;
  #interruptions: number;
  #waited = 0;
  #firstMayHaveRun: boolean;
  #stopSeqs: readonly number[] = [];

  /** A new turn over a batch: claims its rows. */
  static begin(deps: SessionDeps, drain: Drain, batch: Batch, projection: Projection): Turn {
    const id = `t${deps.clock.now().toString(36)}${deps.random.id(4)}`;
    const turn = new Turn(deps, drain, { id, steps: 0, interruptions: 0, firstMayHaveRun: false });
    const first = batch.rows.find((row) => row.trigger === 1);
    turn.#origin = first?.seq ?? 0;
    turn.#place = first ?? turn.#place;
    turn.#take(batch, projection);
    return turn;
  }

  /** A turn that a predecessor left after a finished step; `interruptions` is 0 when it was left on purpose, between tools. */
  static resume(deps: SessionDeps, drain: Drain, row: TurnRow, interruptions: number): Turn {
    const turn = new Turn(deps, drain, { id: row.id, steps: row.steps, interruptions, firstMayHaveRun: interruptions > 0 });
    turn.#origin = row.origin_seq ?? 0;
    const rows = deps.inbox.reread(deps.outbox.readBy(row.id)).filter((entry) => entry.trigger === 1);
    for (const entry of rows) if (entry.channel !== null) turn.#replyTo = entry.seq;
    turn.#place = rows.find((entry) => entry.channel !== null) ?? turn.#place;
    return turn;
  }

  private constructor(
    deps: SessionDeps,
    drain: Drain,
    start: { readonly id: string; readonly steps: number; readonly interruptions: number; readonly firstMayHaveRun: boolean },
  ) {
    this.id = start.id;
    this.#deps = deps;
    this.#drain = drain;
    this.#steps = start.steps;
    this.#interruptions = start.interruptions;
    this.#firstMayHaveRun = start.firstMayHaveRun;
    this.#origin = 0;
    this.#startedAt = deps.clock.now();
  }

  /** Cancels the turn on behalf of these control rows. */
  stop(seqs: readonly number[]): void {
    this.#stopSeqs = [...this.#stopSeqs, ...seqs];
    this.#stop.abort(new Error('stopped by the user'));
  }

  /** Runs to the end. Rejects only for what ends the process: a full volume, a broken file. */
  async run(): Promise<TurnOutcome> {
    const signal = AbortSignal.any([this.#stop.signal, this.#drain.hard]);
    try {
      let more = await this.#runTools(signal);
      while (more === 'next step') more = await this.#step(signal);
      return more;
    } catch (e) {
      if (this.#stop.signal.aborted) return this.endStopped();
      if (this.#drain.hard.aborted) return this.#checkpoint(0);
      if (e instanceof WaitCutError) return this.#checkpoint(e.nextTryAt);
      if (e instanceof ProviderError) return this.#endRefused(e);
      throw e;
    } finally {
      this.#deps.report({ phase: 'idle', turn: '', activity: '', deadlineMs: 0 });
    }
  }

  async #step(signal: AbortSignal): Promise<TurnOutcome | 'next step'> {
    const deps = this.#deps;
    const projection = deps.projection();
    const { agent } = projection;
    const guard = loopGuard(this.#ownMessages(), this.#steps, agent.maxSteps) ?? this.#timeGuard(agent);
    if (guard !== undefined && this.#steps > 0) return this.#endGuarded(guard);
    if (this.#steps > 0) this.#join(projection);
    else if (this.#unused.history.length === 0) return this.#endUnread();

    const provider = await deps.provider(agent.provider);
    const toolbox = deps.toolbox(agent);
    const step = this.#steps + 1;
    const working = { phase: 'turn', turn: this.id, activity: 'model', deadlineMs: 0 } as const;
    deps.report(working);
    const ask = (): Promise<Answer> =>
      callModel(
        provider,
        {
          system: systemPrompt({ ...deps.promptBase(), agent, destinations: projection.destinations, tools: toolbox.names }),
          tools: toolbox.specs,
          messages: [...deps.transcript.load(this.id), ...this.#unused.history.map(({ role, blocks, turn }) => ({ role, blocks, turn }))],
          model: agent.model,
          effort: agent.effort,
          thinking: agent.thinking,
          serverCompaction: agent.serverCompaction,
          turn: this.id,
          interruptions: this.#interruptions,
        },
        {
          call: this.#call(step),
          statusId: `${this.id}/${step}/busy`,
          replyTo: this.#replyTo,
          noProgressMs: agent.noProgressTimeoutMs,
          signal,
          drain: this.#drain.soft,
          onEvent: () => deps.report(working),
          onWait: (until) => {
            this.#waited += Math.max(0, until - deps.clock.now());
            deps.report({ phase: 'waiting', turn: this.id, activity: 'model', deadlineMs: until });
          },
        },
        deps,
      );
    const answer = await this.#askShorter(ask);
    const ended = this.#commitAnswer(answer, step, projection);
    return ended ? 'ended' : this.#runTools(signal);
  }

  /** Asks; when the conversation is longer than the model can read, asks again with its older half left out. */
  async #askShorter(ask: () => Promise<Answer>): Promise<Answer> {
    for (;;) {
      let refused: ProviderError;
      try {
        const answer = await ask();
        if (answer.stop !== 'context') return answer;
        refused = ProviderError.permanent('TooLarge', 'the conversation is longer than the model can read');
      } catch (e) {
        // Too long a prompt is told apart from other bad requests by its text alone, so a long one is tried shorter too.
        if (!(e instanceof ProviderError) || (e.reason !== 'TooLarge' && e.reason !== 'BadRequest')) throw e;
        refused = e;
      }
      if (!this.#deps.transcript.shorten(this.id)) throw refused;
      this.#deps.log.warn({ err: refused, turn: this.id }, 'the older half of the transcript is left out from now on');
    }
  }

  /** Makes one step durable: what it read is done, what it said is written. True: the turn is over. */
  #commitAnswer(answer: Answer, step: number, projection: Projection): boolean {
    const { outbox, reached } = this.#deps;
    const { ends, out, note } = composeAnswer(answer, {
      destinations: new Set(projection.destinations.map((row) => row.name)),
      replyTo: this.#replyTo,
      told: this.#wasToldOfDestinations(),
      answered: () => outbox.hasAnswered(this.id),
    });
    // A note stands behind the results of the calls, so with calls it waits for the next step.
    const calls = answer.blocks.some((block) => block.type === 'tool_use');
    const history: NewHistory[] = [
      ...this.#unused.history.map((row) => ({ ...row, step })),
      { turn: this.id, step, role: 'assistant', blocks: answer.blocks, model: answer.model, usage: answer.usage },
      ...(note === undefined || calls ? [] : [this.#note(step, note)]),
    ];
    reached('runner/before-step-commit');
    outbox.commit({
      history,
      settle: { seqs: this.#unused.seqs, state: 'done', turn: this.id },
      out: out.map(({ text, ...to }, n) => ({ id: `${this.id}/${step}/${n}`, kind: 'chat', ...to, content: { text } })),
      turn: { id: this.id, state: ends ? 'done' : 'running', steps: step, model: answer.model },
      state: { [RETRY_STATE]: undefined, [RESUME_STATE]: undefined, [CHECKPOINT_STATE]: undefined },
    });
    reached('runner/after-step-commit');
    this.#remember(history);
    this.#steps = step;
    this.#unused = note !== undefined && calls ? { ...NOTHING, history: [this.#note(step + 1, note)] } : NOTHING;
    this.#interruptions = 0;
    this.#firstMayHaveRun = false;
    return ends;
  }

  /** Runs the calls that have no result yet, one after the other; each result is durable before the next call begins. */
  async #runTools(signal: AbortSignal): Promise<TurnOutcome | 'next step'> {
    const deps = this.#deps;
    const calls = danglingCalls(this.#ownMessages());
    for (const [position, call] of calls.entries()) {
      if (this.#drain.soft.aborted) return this.#checkpoint(0);
      signal.throwIfAborted();
      const used: number[] = [];
      const block = await this.#runTool(call, position === 0 && this.#firstMayHaveRun, signal, used);
      const row: NewHistory = { turn: this.id, step: this.#steps, role: 'tool', blocks: [block] };
      deps.outbox.commit({ history: [row], settle: { seqs: used, state: 'done', turn: this.id } });
      this.#remember([row]);
    }
    this.#firstMayHaveRun = false;
    if (this.#drain.soft.aborted && this.#steps > 0) return this.#checkpoint(0);
    signal.throwIfAborted();
    return 'next step';
  }

  /** `used` takes the inbound rows that the result stands for. */
  async #runTool(call: ToolUse & { readonly index: number }, mayHaveRun: boolean, signal: AbortSignal, used: number[]): Promise<Block> {
    const deps = this.#deps;
    const projection = deps.projection();
    const toolbox = deps.toolbox(projection.agent);
    if (mayHaveRun && !toolbox.repeatable(call.name)) return interruptedResult(call.id);
    const deadline = toolbox.deadlineMs(call.name, call.input);
    deps.report({
      phase: deadline === undefined ? 'turn' : 'waiting',
      turn: this.id,
      activity: call.name,
      deadlineMs: deadline === undefined ? 0 : deps.clock.now() + deadline,
    });
    deps.reached('runner/mid-step');
    const rowId = `${this.id}/${this.#steps}/t${call.index}`;
    const { text, isError } = await toolbox.run(call.name, call.input, {
      signal,
      clock: deps.clock,
      files: deps.files,
      outboxFiles: deps.outboxFiles,
      destinations: projection.destinations,
      replyTo: this.#replyTo,
      rowId,
      commandEnv: () => deps.commandEnv(projection.agent),
      written: (id) => deps.outbox.written(id),
      waitForAnswer: async (questionId, untilMs) => {
        const until = deps.outbox.questionExpiry(rowId) ?? untilMs; // asked by an earlier process: its deadline still holds
        deps.report({ phase: 'waiting', turn: this.id, activity: call.name, deadlineMs: until });
        const found = await waitForAnswer(questionId, until, { ...deps, signal, drain: this.#drain.soft });
        if (found !== undefined) used.push(found.seq);
        return found?.answer;
      },
      send: (row) => {
        const [seq = 0] = deps.outbox.commit({ out: [row] }).seqs;
        deps.reached('runner/after-send-row');
        return seq;
      },
    });
    return { type: 'tool_result', toolUseId: call.id, text, ...(isError ? { isError } : {}) };
  }

  /** Messages that arrived meanwhile join the turn: claimed now, done with the step that reads them. */
  #join(projection: Projection): void {
    const batch = unlessPassing(() => this.#deps.inbox.joining(this.#deps.clock.now(), this.#place));
    if (batch !== undefined) this.#take(batch, projection);
  }

  #take(batch: Batch, projection: Projection): void {
    const { inbox, outbox, reached } = this.#deps;
    const seqs = [...batch.leftOut, ...batch.rows.map((row) => row.seq)];
    reached('runner/after-read-before-claim');
    outbox.claim({ id: this.id, provider: projection.agent.provider, model: projection.agent.model, origin: this.#origin }, seqs);
    reached('runner/after-claim');
    this.#interruptions = Math.max(this.#interruptions, ...batch.rows.map((row) => row.interrupted));
    // Delivery edits rows in place until it sees the claim: what stands there now is what the model reads.
    const reread = unlessPassing(() => inbox.reread(batch.rows.map((row) => row.seq))) ?? batch.rows;
    const rows = reread.filter((row) => row.status === 'pending'); // one that was deleted meanwhile is done unread
    const view = { ...projection, attachmentsDir: this.#deps.promptBase().attachments };
    const step = this.#steps + 1;
    const history: NewHistory[] = [
      ...(batch.leftOut.length > 0 ? [this.#note(step, `${batch.leftOut.length} earlier messages of this chat are left out.`)] : []),
      ...rows.map(
        (row): NewHistory => ({
          turn: this.id,
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

  /** All that the turn began with was deleted before it was read. */
  #endUnread(): TurnOutcome {
    this.#deps.outbox.commit({
      settle: { seqs: this.#unused.seqs, state: 'done', turn: this.id },
      turn: { id: this.id, state: 'done', steps: 0 },
    });
    return 'ended';
  }

  #endGuarded(sentence: string): TurnOutcome {
    this.#deps.transcript.forget();
    const row: NewHistory = { turn: this.id, step: this.#steps, role: 'assistant', blocks: [{ type: 'text', text: sentence }] };
    this.#deps.outbox.commit({
      history: [row],
      out: [{ id: `${this.id}/${this.#steps}/end`, kind: 'chat', inReplyTo: this.#replyTo, content: { text: sentence } }],
      turn: { id: this.id, state: 'done', steps: this.#steps, error: sentence },
      state: { [RETRY_STATE]: undefined, [RESUME_STATE]: undefined, [CHECKPOINT_STATE]: undefined },
    });
    return 'ended';
  }

  /** Ends a turn that `stop` was called on: what it read is done, the model learns that it was stopped. */
  endStopped(): TurnOutcome {
    const step = this.#steps;
    const results = danglingCalls(this.#ownMessages()).map(
      (call): Block => ({ type: 'tool_result', toolUseId: call.id, text: 'Stopped by the user.', isError: true }),
    );
    const replyTo = this.#stopSeqs.at(-1) ?? this.#replyTo;
    this.#deps.transcript.forget();
    this.#deps.outbox.commit({
      history: [
        ...(results.length > 0 ? [{ turn: this.id, step, role: 'tool', blocks: results } as const] : []),
        ...this.#unused.history,
        { turn: this.id, step: step + 1, role: 'assistant', blocks: [{ type: 'text', text: '(Stopped by the user.)' }] },
      ],
      settle: { seqs: [...this.#unused.seqs, ...this.#stopSeqs], state: 'done', turn: this.id },
      out: [{ id: `${this.id}/${step}/stopped`, kind: 'chat', inReplyTo: replyTo, content: { text: STOPPED } }],
      turn: { id: this.id, state: 'stopped', steps: step },
      state: { [RETRY_STATE]: undefined, [RESUME_STATE]: undefined, [CHECKPOINT_STATE]: undefined },
    });
    return 'ended';
  }

  /** The provider refuses. What an administrator can mend waits for that; the rest will never be answered. */
  #endRefused(error: ProviderError): TurnOutcome {
    const { log, outbox, transcript } = this.#deps;
    log.error({ err: error, reason: error.reason, turn: this.id }, 'the provider refused a turn');
    transcript.forget();
    if (this.#steps === 0 && awaitsAdministrator(error)) {
      const wait = administratorWait(outbox.getState(RETRY_STATE), this.#call(1), this.#deps.clock.now());
      if (wait !== undefined) return this.#waitForAdministrator(error, wait);
    }
    const sentence = refusalSentence(error);
    // A failed chat message is what delivery tells people about, with this error: one sentence, not two.
    const told = this.#unused.asked;
    outbox.commit({
      settle: { seqs: this.#unused.seqs, state: 'failed', turn: this.id, error: sentence },
      out: told
        ? []
        : [{ id: `${this.id}/${this.#steps + 1}/refused`, kind: 'chat', inReplyTo: this.#replyTo, content: { text: sentence } }],
      turn: { id: this.id, state: 'failed', steps: this.#steps, error: `${error.reason}: ${error.message}` },
      state: { [RETRY_STATE]: undefined, [RESUME_STATE]: undefined, [CHECKPOINT_STATE]: undefined },
    });
    return 'ended';
  }

  /** The messages stay due, later and later; people are told once. */
  #waitForAdministrator(error: ProviderError, { told, retry }: AdministratorWait): TurnOutcome {
    this.#deps.outbox.commit({
      state: { [RETRY_STATE]: retry },
      out: told ? [] : [{ id: `${this.id}/1/waits`, kind: 'chat', inReplyTo: this.#replyTo, content: { text: refusalSentence(error) } }],
    });
    this.#deps.outbox.release(this.id, retry.nextAt, `${error.reason}: ${error.message}`);
    return 'ended';
  }

  /** Leaves the turn for the next process; what no step used becomes due again. */
  #checkpoint(nextTryAt: number): TurnOutcome {
    const { outbox } = this.#deps;
    if (this.#unused.seqs.length > 0 || this.#steps === 0) outbox.release(this.id, nextTryAt, 'released by a drain before its first step');
    if (this.#steps > 0) outbox.commit({ state: { [CHECKPOINT_STATE]: { turn: this.id, step: this.#steps } satisfies CheckpointState } });
    return this.#steps > 0 ? 'checkpointed' : 'ended';
  }

  #call(step: number): string {
    return `${this.#origin}/${step}`;
  }

  #timeGuard({ turnTimeoutMs }: AgentConfig): string | undefined {
    return this.#deps.clock.now() - this.#startedAt - this.#waited > turnTimeoutMs ? TOO_LONG_A_TURN : undefined;
  }

  #ownMessages(): readonly TranscriptMessage[] {
    return this.#deps.transcript.load(this.id).filter((message) => message.turn === this.id);
  }

  #remember(rows: readonly NewHistory[]): void {
    this.#deps.transcript.append(rows.map(({ role, blocks, turn }) => ({ role, blocks, turn })));
  }

  #note(step: number, text: string): NewHistory {
    return { turn: this.id, step, role: 'user', blocks: [{ type: 'text', text: renderNote(text) }] };
  }

  #wasToldOfDestinations(): boolean {
    return this.#ownMessages().some(
      (message) =>
        message.role === 'user' &&
        message.blocks.some((block) => block.type === 'text' && block.text.startsWith(`<system>${NO_DESTINATION}`)),
    );
  }
}
