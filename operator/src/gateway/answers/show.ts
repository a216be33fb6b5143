/**
 * After an answer is durable: the message with the buttons says what was chosen and by whom, and whoever pressed hears of it. Best
 * effort: what a crash or a platform keeps from being shown is shown at the next press, which is told that it comes too late.
 */
import type { Channel } from '@dovecote/crds';
import { inbox } from '@dovecote/proto';
import type { Clock } from '../../lib/clock.ts';
import { abandonAfter } from '../../lib/deadline.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { ConnectedChannel, IncomingAnswer, Outcome } from '../channels/channel.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { answeredQuestion } from '../platform/question.ts';

const CALL_MS = 15_000;

export class ShownAnswers {
  readonly #find: (channel: string) => { readonly connected: ConnectedChannel | undefined } | undefined;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: Pick<GatewayMetrics, 'platformCalls'>;
  readonly #inHand = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(deps: {
    readonly find: (channel: string) => { readonly connected: ConnectedChannel | undefined } | undefined;
    readonly clock: Clock;
    readonly log: Log;
    readonly metrics: Pick<GatewayMetrics, 'platformCalls'>;
  }) {
    this.#find = deps.find;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#metrics = deps.metrics;
  }

  /** Never throws, and holds up nobody. */
  show({ metadata: { name } }: Channel, event: IncomingAnswer, answered: inbox.AnswerResponse | undefined): void {
    const connected = this.#find(name)?.connected;
    if (connected === undefined || this.#stop.signal.aborted) return;
    this.#begin(name, 'whoever pressed was not told', (signal) =>
      connected.respond?.(event, { sentence: sentenceOf(answered), shown: answered !== undefined }, signal),
    );
    if (answered !== undefined && connected.info.supports.edits && event.platformMessageId !== '')
      this.#begin(name, 'buttons of an answered question stay', async (signal) => {
        const outcome = await replaceButtons(connected, event, answered, signal);
        const label = outcome.type === 'delivered' ? outcome.type : outcome.reason;
        this.#metrics.platformCalls.inc({ channel: name, kind: 'answered', outcome: label });
        if (outcome.type !== 'delivered') throw new Error(outcome.message);
      });
  }

  /** Gives up what is in hand; resolves when it has ended. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the gateway shuts down'));
    await Promise.all(this.#inHand);
  }

  #begin(channel: string, failure: string, work: (signal: AbortSignal) => Promise<void> | undefined): void {
    const done = abandonAfter({ ms: CALL_MS, what: 'show an answer', clock: this.#clock, signal: this.#stop.signal }, async (signal) =>
      work(signal),
    )
      .catch((thrown: unknown) => this.#log.info({ channel, err: toError(thrown) }, failure))
      .finally(() => this.#inHand.delete(done));
    this.#inHand.add(done);
  }
}

function replaceButtons(
  connected: ConnectedChannel,
  event: IncomingAnswer,
  answered: inbox.AnswerResponse,
  signal: AbortSignal,
): Promise<Outcome> {
  const text = answeredQuestion(answered, connected.dialect);
  return connected.deliver(
    {
      chat: event.chat,
      thread: event.thread,
      replyTo: '',
      idempotencyKey: `${event.session}/${event.questionSeq}/answered`,
      outgoing: { kind: 'edit', target: event.platformMessageId, text },
    },
    signal,
  );
}

function sentenceOf(answered: inbox.AnswerResponse | undefined): string {
  switch (answered?.outcome) {
    case inbox.AnswerOutcome.STORED:
    case inbox.AnswerOutcome.DUPLICATE:
      return `Your answer: ${answered.label}`;
    case inbox.AnswerOutcome.ALREADY_ANSWERED:
      return `Already answered${answered.answeredBy === '' ? '' : ` by ${answered.answeredBy}`}: ${answered.label}`;
    default:
      return 'This cannot be answered by you here.';
  }
}
