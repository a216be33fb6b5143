/** A session over a cell's real files, whose model answers from a script. For tests only. */
import { type Block, PathJail } from '@dovecote/proto';
import type { Progress } from '../attach/progress.ts';
import { Inbox } from '../inbox/inbox.ts';
import { Jobs } from '../jobs/jobs.ts';
import { Bell } from '../lifecycle/bell.ts';
import { type Clock, systemClock } from '../lifecycle/clock.ts';
import { noCrash, type Reached } from '../lifecycle/crash-point.ts';
import { silentLog } from '../lifecycle/log.ts';
import { systemRandom } from '../lifecycle/random.ts';
import { type Change, Outbox } from '../outbox/outbox.ts';
import { OutboxFiles } from '../outbox/outbox-files.ts';
import { type Answer, type Provider, ProviderError, type ProviderRequest } from '../providers/provider.ts';
import { builtInTools } from '../tools/built-in.ts';
import type { Tool } from '../tools/tool.ts';
import { toolboxes } from '../tools/toolbox.ts';
import { Drain } from '../turn/drain.ts';
import { Session } from '../turn/session.ts';
import { TranscriptStore } from '../turn/transcript-store.ts';
import { TestCell } from './cell.ts';
import { until } from './runner-process.ts';

export type Reply = (request: ProviderRequest) => Partial<Answer> | ProviderError | Promise<Partial<Answer>>;
export const says = (text: string, fields: Partial<Answer> = {}): Partial<Answer> => ({ blocks: [{ type: 'text', text }], ...fields });
export const calls = (name: string, input: unknown, text = ''): Partial<Answer> => ({
  blocks: [...(text === '' ? [] : [{ type: 'text', text } as Block]), { type: 'tool_use', id: `u${Math.random()}`, name, input }],
  stop: 'tools',
});

export interface SessionBenchOptions {
  readonly clock?: Clock;
  /** beside the runner's own */
  readonly tools?: readonly Tool[];
  /** where its provider is another than one that gives the replies at once */
  readonly provider?: Partial<Provider>;
}

/** Its model gives these replies, one a step, over all processes. */
export class SessionBench {
  readonly cell: TestCell;
  readonly requests: ProviderRequest[] = [];
  readonly progress: Progress[] = [];
  /** what people would have seen of answers that were being written */
  readonly partials: string[] = [];
  readonly #replies: readonly Reply[];
  readonly #options: SessionBenchOptions;
  readonly #clock: Clock;
  /** called at each crash point */
  reached: Reached = noCrash;
  #drain: Drain;
  #bell: Bell;
  #running: Promise<void> | undefined;
  #inbox: Inbox | undefined;
  #outbox: Outbox | undefined;

  constructor(
    replies: readonly (Reply | Partial<Answer> | ProviderError)[],
    cell: ConstructorParameters<typeof TestCell>[0] = {},
    options: SessionBenchOptions = {},
  ) {
    this.#options = options;
    const { clock = systemClock } = options;
    this.cell = new TestCell(cell);
    this.#replies = replies.map((reply) => (typeof reply === 'function' ? reply : () => reply));
    this.#clock = clock;
    this.#drain = new Drain(clock);
    this.#bell = new Bell(clock);
  }

  start(): void {
    const { cell, requests } = this;
    const clock = this.#clock;
    const inbox = Inbox.open(cell.inboundPath);
    const outbox = Outbox.open(cell.outboundPath, { inbox, clock, onRows: () => {} });
    const replies = this.#replies;
    const provider: Provider = {
      name: 'scripted',
      defaultModel: 'm',
      transcriptChars: 1_000_000,
      compactsItself: () => false,
      async *stream(request) {
        // Titles are asked for beside the turns.
        if (request.purpose !== 'title') requests.push(structuredClone(request));
        const reply =
          request.purpose === 'title'
            ? ProviderError.permanent('BadRequest', 'no titles here')
            : await (replies[requests.length - 1]?.(request) ?? says('(the script is over)'));
        if (reply instanceof ProviderError) throw reply;
        yield {
          type: 'answer',
          stop: 'end',
          model: 'm',
          usage: { inputTokens: 1, outputTokens: 2 },
          blocks: [],
          ...reply,
        } satisfies Answer;
      },
      ...this.#options.provider,
    };
    this.#inbox = inbox;
    this.#outbox = outbox;
    const own = builtInTools({ jobs: new Jobs({ clock, random: systemRandom }), random: systemRandom });
    const tools = [...own, ...(this.#options.tools ?? [])];
    const session = new Session(
      {
        inbox,
        outbox,
        outboxFiles: new OutboxFiles(cell.out),
        transcript: new TranscriptStore(outbox),
        files: new PathJail([{ alias: '/workspace', dir: cell.workspace, writable: true }]),
        toolbox: toolboxes(() => tools, silentLog),
        commandEnv: () => ({}),
        provider: async () => provider,
        projection: () => {
          const projection = inbox.projection();
          if (projection === undefined) throw new Error('no agent');
          return projection;
        },
        promptBase: () => ({ type: 'chat', shared: false, workspace: '/workspace', home: '/agent', attachments: '/attachments' }),
        bell: this.#bell,
        report: (progress) => this.progress.push(progress),
        partials: { show: ({ text }) => this.partials.push(text()), end: () => {} },
        skills: { refresh: async () => {}, list: [] },
        homeFiles: { read: () => [] },
        retryMs: 5_000,
        clock,
        random: systemRandom,
        log: silentLog,
        reached: (point) => this.reached(point),
      },
      this.#drain,
    );
    this.#running = session.run();
  }

  /** What a predecessor left: a turn of this change, in which it died. Before the start. */
  put(change: Change & { readonly turn: { readonly id: string } }): void {
    const inbox = Inbox.open(this.cell.inboundPath);
    const outbox = Outbox.open(this.cell.outboundPath, { inbox, clock: this.#clock, onRows: () => {} });
    outbox.claim({ id: change.turn.id, provider: 'scripted', model: undefined, origin: 2 }, change.settle?.seqs ?? []);
    outbox.commit(change);
    outbox.close();
    inbox.close();
  }

  say(...args: Parameters<TestCell['say']>): number {
    const seq = this.cell.say(...args);
    this.#bell.ring();
    return seq;
  }

  /** On a clock that moves by itself. */
  async ended(turns = 1): Promise<void> {
    await until(`${turns} turns are over`, () => this.cell.turns().filter((turn) => turn.state !== 'running').length === turns);
  }

  /** As an idle session that is put to sleep. */
  async sleep(): Promise<void> {
    this.#drain.begin('Idle', 0);
    await this.#running;
    await this.#drain.close();
    this.#outbox?.close();
    this.#inbox?.close();
    this.#running = undefined;
    this.#drain = new Drain(this.#clock);
    this.#bell = new Bell(this.#clock);
  }

  async close(): Promise<void> {
    if (this.#running !== undefined) await this.sleep();
    this.cell.remove();
  }
}
