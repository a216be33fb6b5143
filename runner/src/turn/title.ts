import { type AgentConfig, STATE_TITLE, type TitleState } from '@dovecote/proto';
import { toError } from '../lifecycle/exit.ts';
import { cleanTitle, TITLE_SYSTEM } from '../prompts/title.ts';
import { type Answer, ProviderError, type TranscriptMessage } from '../providers/provider.ts';
import type { SessionDeps } from './session-deps.ts';

/** Characters of the first message that a title is made from. */
const FIRST_CHARS = 4_000;
/** Tries of one process: a title is never worth more. */
const TRIES = 3;
const SLOW_MS = 60_000;

const OVER = new Error('the session ends');

/** Has the model name the conversation, beside the first turn. People have its first line until then, by delivery. */
export class TitleMaker {
  readonly #deps: SessionDeps;
  readonly #over = new AbortController();
  #making: Promise<void> | undefined;
  #left = TRIES;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    if (deps.outbox.getState(STATE_TITLE) !== undefined || deps.promptBase().type.toLowerCase() !== 'chat') this.#left = 0;
  }

  /** A step of this turn is finished: the model has time. Returns at once. */
  afterStep(turn: string, agent: AgentConfig): void {
    if (this.#left === 0 || this.#making !== undefined) return;
    const first = this.#deps.transcript.load(turn).find(({ role, turn: its }) => role === 'user' && its !== '');
    if (first === undefined) return;
    this.#left -= 1;
    this.#making = this.#make(turn, agent, first).finally(() => {
      this.#making = undefined;
    });
  }

  /** Ends what is under way: the next process asks again. */
  async close(): Promise<void> {
    this.#left = 0;
    this.#over.abort(OVER);
    await this.#making;
  }

  async #make(turn: string, agent: AgentConfig, first: TranscriptMessage): Promise<void> {
    const { log, outbox } = this.#deps;
    try {
      const answer = await this.#ask(turn, agent, first);
      const text = cleanTitle(answer.blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n'));
      if (this.#over.signal.aborted) return;
      if (text !== '') this.#left = 0;
      outbox.commit({
        // Beside the turns: its figures count, and it is not part of the transcript.
        history: [{ turn: `${turn}/title`, step: 0, role: 'assistant', blocks: answer.blocks, model: answer.model, usage: answer.usage }],
        state: text === '' ? {} : { [STATE_TITLE]: { text } satisfies TitleState },
      });
    } catch (e) {
      // Not worth a turn, whatever it was: a file that cannot be written is found out by the next step.
      if (!this.#over.signal.aborted) log.warn({ err: toError(e), turn }, 'the conversation got no title');
    }
  }

  async #ask(turn: string, agent: AgentConfig, first: TranscriptMessage): Promise<Answer> {
    const { clock } = this.#deps;
    const provider = await this.#deps.provider(agent.provider);
    const done = new AbortController();
    const late = new AbortController();
    const timer = clock.sleep(SLOW_MS, done.signal).then(
      () => late.abort(ProviderError.transient('NoProgress', `no title after ${SLOW_MS} ms`)),
      () => {},
    );
    const signal = AbortSignal.any([this.#over.signal, late.signal]);
    try {
      const request = {
        system: TITLE_SYSTEM,
        tools: [],
        messages: [
          {
            ...first,
            blocks: first.blocks.flatMap((block) => (block.type === 'text' ? [{ ...block, text: block.text.slice(0, FIRST_CHARS) }] : [])),
          },
        ],
        model: agent.model,
        effort: 'low',
        purpose: 'title',
        turn,
        attempt: 0,
        interruptions: 0,
      } as const;
      for await (const event of provider.stream(request, { signal })) if (event.type === 'answer') return event;
      throw ProviderError.transient('Network', 'the stream ended without an answer');
    } catch (e) {
      if (late.signal.aborted) throw late.signal.reason;
      throw e;
    } finally {
      done.abort(OVER);
      await timer;
    }
  }
}
