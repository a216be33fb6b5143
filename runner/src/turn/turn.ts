/** One run of the model loop: steps until the model has nothing more to do, each step one transaction. */
import type { AgentConfig, TurnRow } from '@dovecote/proto';
import type { Batch, Projection } from '../inbox/inbox.ts';
import { LOST_JOBS_STATE, lostJobs } from '../jobs/job-record.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import type { NewHistory } from '../outbox/outbox.ts';
import type { HomeFile } from '../prompts/home-files.ts';
import { systemPrompt } from '../prompts/system-prompt.ts';
import { type Answer, type Provider, ProviderError, type ProviderRequest, type TranscriptMessage } from '../providers/provider.ts';
import { ADMINISTRATOR_STATE } from './administrator-wait.ts';
import { type CallOptions, callModel } from './call-model.ts';
import { compact } from './compact.ts';
import { composeAnswer, NO_DESTINATION } from './compose-answer.ts';
import type { Drain } from './drain.ts';
import { checkpoint, endGuarded, endRefused, endStopped, type Standing, type TurnOutcome } from './endings.ts';
import { loopGuard } from './loop-guard.ts';
import { Reading } from './reading.ts';
import { runTool } from './run-tool.ts';
import { TOO_LONG_A_TURN } from './sentences.ts';
import type { TurnDeps } from './session-deps.ts';
import { danglingCalls } from './transcript.ts';
import { VOID } from './turn-state.ts';
import { visiblePart } from './visible-part.ts';

/** A transcript below this is not why a provider refuses, characters. */
const SHORT_CHARS = 50_000;

interface Start {
  readonly id: string;
  readonly steps: number;
  readonly interruptions: number;
  readonly reading: Reading;
  /** as it was just read */
  readonly projection?: Projection;
}

export class Turn {
  readonly id: string;
  readonly #deps: TurnDeps;
  readonly #drain: Drain;
  readonly #reading: Reading;
  readonly #stop = new AbortController();
  readonly #startedAt: number;
  #steps: number;
  #interruptions: number;
  #firstMayHaveRun: boolean;
  #waited = 0;
  /** as they were when the turn began, or was taken up: its prompt stays the same */
  #homeFiles: readonly HomeFile[] = [];
  #stopSeqs: readonly number[] = [];
  #projection: Projection | undefined;

  /** A new turn over a batch: claims its rows. */
  static begin(deps: TurnDeps, drain: Drain, batch: Batch, projection: Projection): Turn {
    const id = `t${deps.clock.now().toString(36)}${deps.random.id(4)}`;
    const first = batch.rows.find((row) => row.trigger === 1);
    const reading = new Reading(deps, id, { origin: first?.seq ?? 0, place: first ?? NOWHERE });
    reading.take(batch, projection, 1);
    return new Turn(deps, drain, { id, steps: 0, interruptions: 0, reading, projection });
  }

  /** A turn that a predecessor left after a finished step; `interruptions` is 0 when it was left on purpose, between tools. */
  static resume(deps: TurnDeps, drain: Drain, row: TurnRow, interruptions: number): Turn {
    const rows = deps.inbox.reread(deps.outbox.readBy(row.id)).filter((entry) => entry.trigger === 1 && entry.channel !== null);
    const reading = new Reading(deps, row.id, { origin: row.origin_seq ?? 0, place: rows[0] ?? NOWHERE, replyTo: rows.at(-1)?.seq });
    return new Turn(deps, drain, { id: row.id, steps: row.steps, interruptions, reading });
  }

  private constructor(deps: TurnDeps, drain: Drain, start: Start) {
    this.id = start.id;
    this.#deps = deps;
    this.#drain = drain;
    this.#reading = start.reading;
    this.#steps = start.steps;
    this.#interruptions = start.interruptions;
    this.#firstMayHaveRun = start.interruptions > 0;
    this.#startedAt = deps.clock.now();
    this.#projection = start.projection;
    for (const sentence of lostJobs(deps.outbox)) start.reading.mention(start.steps + 1, sentence);
  }

  /** Cancels the turn on behalf of these control rows. */
  stop(seqs: readonly number[]): void {
    this.#stopSeqs = [...this.#stopSeqs, ...seqs];
    this.#stop.abort(new Error('stopped by the user'));
  }

  /** Runs to the end. Rejects only for what ends the process: a full volume, a broken file. */
  async run(): Promise<TurnOutcome> {
    const deps = this.#deps;
    const signal = AbortSignal.any([this.#stop.signal, this.#drain.hard]);
    try {
      await deps.skills.refresh();
      this.#homeFiles = deps.homeFiles.read();
      let more = await this.#runTools(signal);
      while (more === 'next step') more = await this.#step(signal);
      return more;
    } catch (e) {
      deps.partials.end(false);
      if (this.#stop.signal.aborted) return this.endStopped();
      if (this.#drain.hard.aborted) return checkpoint(0, this.#standing(), deps);
      if (e instanceof WaitCutError) return checkpoint(e.nextTryAt, this.#standing(), deps);
      if (e instanceof ProviderError) return endRefused(e, this.#standing(), deps);
      throw e;
    } finally {
      deps.report({ phase: 'idle', turn: '', activity: '', deadlineMs: 0 });
    }
  }

  /** Ends a turn that `stop` was called on. */
  endStopped(): TurnOutcome {
    return endStopped(this.#stopSeqs, this.#ownMessages(), this.#standing(), this.#deps);
  }

  async #step(signal: AbortSignal): Promise<TurnOutcome | 'next step'> {
    const deps = this.#deps;
    const projection = this.#projection ?? deps.projection();
    this.#projection = undefined; // the next step reads it anew
    const { agent } = projection;
    const guard = loopGuard(this.#ownMessages(), this.#steps, agent.maxSteps) ?? this.#timeGuard(agent);
    if (guard !== undefined && this.#steps > 0) return endGuarded(guard, this.#standing(), deps);
    const step = this.#steps + 1;
    if (this.#steps > 0) this.#reading.join(projection, step);
    const provider = await deps.provider(agent.provider);
    const answer = await this.#ask(provider, projection, this.#callOptions(step, agent, signal));
    const ended = this.#commitAnswer(answer, step, projection);
    return ended ? 'ended' : this.#runTools(signal);
  }

  /** Asks with what fits; when the provider still finds it too long, asks again with less. */
  async #ask(provider: Provider, projection: Projection, options: CallOptions): Promise<Answer> {
    const { transcript, log } = this.#deps;
    const { agent } = projection;
    const makeRoom = async (limit: number): Promise<boolean> =>
      (await compact({ provider, agent, turn: this.id, options, limit, orCut: true }, this.#deps)) !== 'nothing';
    transcript.load(this.id);
    if (transcript.chars > provider.transcriptChars && !provider.compactsItself(agent)) await makeRoom(provider.transcriptChars);
    for (;;) {
      let refused: ProviderError;
      try {
        const answer = await callModel(provider, this.#request(projection), options, this.#deps);
        if (answer.stop !== 'context') return answer;
        refused = ProviderError.permanent('TooLarge', 'the conversation is longer than the model can read');
      } catch (e) {
        // Too long a prompt is told apart from other bad requests by its text alone, so a long one is tried shorter too.
        if (!(e instanceof ProviderError) || (e.reason !== 'TooLarge' && e.reason !== 'BadRequest')) throw e;
        refused = e;
      }
      if (transcript.chars < SHORT_CHARS || !(await makeRoom(transcript.chars - 1))) throw refused;
      log.warn({ err: refused, turn: this.id }, 'the older half of the transcript is left out from now on');
    }
  }

  #request({ agent, destinations }: Projection): Omit<ProviderRequest, 'attempt'> {
    const { transcript, toolbox: boxes, promptBase, skills } = this.#deps;
    const toolbox = boxes(agent);
    const unread = this.#reading.unused.history.map(({ role, blocks, turn }) => ({ role, blocks, turn }));
    return {
      system: systemPrompt({
        ...promptBase(),
        agent,
        destinations,
        tools: toolbox.names,
        skills: skills.list,
        homeFiles: this.#homeFiles,
      }),
      tools: toolbox.specs,
      messages: [...transcript.load(this.id), ...unread],
      model: agent.model,
      effort: agent.effort,
      thinking: agent.thinking,
      serverCompaction: agent.serverCompaction,
      turn: this.id,
      interruptions: Math.max(this.#interruptions, this.#reading.interruptions),
    };
  }

  #callOptions(step: number, agent: AgentConfig, signal: AbortSignal): CallOptions {
    const { clock, report, partials } = this.#deps;
    const { replyTo } = this.#reading;
    const working = { phase: 'turn', turn: this.id, activity: 'model', deadlineMs: 0 } as const;
    let said = '';
    report(working);
    return {
      call: this.#call(step),
      statusId: `${this.id}/${step}/busy`,
      replyTo,
      noProgressMs: agent.noProgressTimeoutMs,
      signal,
      drain: this.#drain.soft,
      onTry: () => {
        said = '';
      },
      onEvent: (event) => {
        report(working);
        if (event.type !== 'text' || agent.streaming === false) return;
        said += event.text;
        partials.show({ turnId: this.id, step, inReplyTo: replyTo ?? 0, text: () => visiblePart(said) });
      },
      onWait: (until) => {
        this.#waited += Math.max(0, until - clock.now());
        report({ ...working, phase: 'waiting', deadlineMs: until });
      },
    };
  }

  /** Makes one step durable: what it read is done, what it said is written. True: the turn is over. */
  #commitAnswer(answer: Answer, step: number, projection: Projection): boolean {
    const { outbox, reached, partials, titles } = this.#deps;
    const { unused, replyTo } = this.#reading;
    const { ends, out, note } = composeAnswer(answer, {
      destinations: new Set(projection.destinations.map((row) => row.name)),
      replyTo,
      told: this.#wasToldOfDestinations(),
      answered: () => outbox.hasAnswered(this.id),
    });
    // A note stands behind the results of the calls, so with calls it waits for the next step.
    const calls = answer.blocks.some((block) => block.type === 'tool_use');
    const history: NewHistory[] = [
      ...unused.history.map((row) => ({ ...row, step })),
      { turn: this.id, step, role: 'assistant', blocks: answer.blocks, model: answer.model, usage: answer.usage },
      ...(note === undefined || calls ? [] : [this.#reading.note(step, note)]),
    ];
    reached('runner/before-step-commit');
    partials.end(ends);
    outbox.commit({
      history,
      settle: { seqs: unused.seqs, state: 'done', turn: this.id },
      out: out.map(({ text, ...to }, n) => ({ id: `${this.id}/${step}/${n}`, kind: 'chat', ...to, content: { text } })),
      turn: { id: this.id, state: ends ? 'done' : 'running', steps: step, model: answer.model },
      state: { ...VOID, [ADMINISTRATOR_STATE]: undefined, [LOST_JOBS_STATE]: undefined },
    });
    reached('runner/after-step-commit');
    this.#remember(history);
    this.#steps = step;
    this.#reading.used(note !== undefined && calls ? [this.#reading.note(step + 1, note)] : []);
    this.#interruptions = 0;
    this.#firstMayHaveRun = false;
    titles.afterStep(this.id, projection.agent);
    return ends;
  }

  /** Runs the calls that have no result yet, one after the other; each result is durable before the next call begins. */
  async #runTools(signal: AbortSignal): Promise<TurnOutcome | 'next step'> {
    const deps = this.#deps;
    const calls = danglingCalls(this.#ownMessages());
    for (const [position, use] of calls.entries()) {
      if (this.#drain.soft.aborted) return checkpoint(0, this.#standing(), deps);
      signal.throwIfAborted();
      const mayHaveRun = position === 0 && this.#firstMayHaveRun;
      const { replyTo } = this.#reading;
      const call = { use, turn: this.id, step: this.#steps, replyTo, mayHaveRun, signal, drain: this.#drain.soft };
      const { block, used } = await runTool(call, deps);
      const row: NewHistory = { turn: this.id, step: this.#steps, role: 'tool', blocks: [block] };
      deps.outbox.commit({ history: [row], settle: { seqs: used, state: 'done', turn: this.id } });
      this.#remember([row]);
    }
    this.#firstMayHaveRun = false;
    if (this.#drain.soft.aborted && this.#steps > 0) return checkpoint(0, this.#standing(), deps);
    signal.throwIfAborted();
    return 'next step';
  }

  #standing(): Standing {
    const { replyTo, unused } = this.#reading;
    return { id: this.id, steps: this.#steps, call: this.#call(this.#steps + 1), replyTo, unused };
  }

  #call(step: number): string {
    return `${this.#reading.origin}/${step}`;
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

  #wasToldOfDestinations(): boolean {
    return this.#ownMessages().some(
      (message) =>
        message.role === 'user' &&
        message.blocks.some((block) => block.type === 'text' && block.text.startsWith(`<system>${NO_DESTINATION}`)),
    );
  }
}

const NOWHERE = { channel: null, chat: null, thread: null };
