import type { Clock } from '../lifecycle/clock.ts';
import type { Reached } from '../lifecycle/crash-point.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import type { Outbox } from '../outbox/outbox.ts';
import { type Answer, type Provider, ProviderError, type ProviderEvent, type ProviderRequest } from '../providers/provider.ts';
import { waitingSentence } from './sentences.ts';

/** An outage that lasts longer than this is mentioned in the chat, once, ms. */
const TELL_AFTER_MS = 15_000;
const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;
/** A refused credential may be one that was just exchanged: so often it is tried again before it counts as refused. */
const CREDENTIAL_TRIES = 3;

export const RETRY_STATE = 'provider_retry';

/** A row in `state`: survives the process, so that neither backoff nor the status line begins anew. */
export interface RetryState {
  /** what is retried; another call's state is none of ours */
  readonly call: string;
  readonly attempts: number;
  readonly firstAt: number;
  readonly nextAt: number;
  readonly told: boolean;
}

export interface CallDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly outbox: Outbox;
  readonly reached: Reached;
}

export interface CallOptions {
  /** names this call across processes: "<origin seq>/<step>" */
  readonly call: string;
  /** id of the status line's row, and what it answers */
  readonly statusId: string;
  readonly replyTo: number | undefined;
  /** no event for so long: the call is cancelled and tried again */
  readonly noProgressMs: number;
  /** cancels the call: /stop, or a drain whose time is over */
  readonly signal: AbortSignal;
  /** ends a wait between tries: a drain */
  readonly drain: AbortSignal;
  /** before each try: what an earlier one said is void */
  readonly onTry: () => void;
  readonly onEvent: (event: Exclude<ProviderEvent, Answer>) => void;
  readonly onWait: (until: number) => void;
}

/**
 * One answer of the model. What passes (busy, network, no sign of life) is tried again for as long as it takes, with the
 * provider's own wait where it names one. Throws a permanent ProviderError, WaitCutError, or the signal's reason.
 */
export async function callModel(
  provider: Provider,
  request: Omit<ProviderRequest, 'attempt'>,
  options: CallOptions,
  deps: CallDeps,
): Promise<Answer> {
  const stored = deps.outbox.getState(RETRY_STATE) as RetryState | undefined;
  let retry = stored?.call === options.call ? stored : undefined;
  for (;;) {
    if (retry !== undefined) await waitFor(retry, options, deps);
    const attempt = retry?.attempts ?? 0;
    try {
      return await once(provider, { ...request, attempt }, options, deps);
    } catch (e) {
      if (options.signal.aborted) throw options.signal.reason;
      if (!(e instanceof ProviderError)) throw e;
      if (!e.transient && !(e.reason === 'Unauthenticated' && attempt + 1 < CREDENTIAL_TRIES)) throw e;
      retry = afterFailure(e, retry, options, deps);
    }
  }
}

function afterFailure(error: ProviderError, before: RetryState | undefined, options: CallOptions, deps: CallDeps): RetryState {
  const now = deps.clock.now();
  const attempts = (before?.attempts ?? 0) + 1;
  const firstAt = before?.firstAt ?? now;
  const own = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(attempts - 1, 16)) * (0.5 + deps.random.fraction() / 2);
  const nextAt = now + Math.round(error.retryAfterMs ?? own);
  const tell = before?.told !== true && error.transient && nextAt - firstAt >= TELL_AFTER_MS;
  const retry = { call: options.call, attempts, firstAt, nextAt, told: before?.told === true || tell };
  deps.log.warn({ err: error, reason: error.reason, attempts, waitMs: nextAt - now }, 'the model call failed and will be tried again');
  deps.outbox.commit({
    state: { [RETRY_STATE]: retry },
    ...(tell
      ? { out: [{ id: options.statusId, kind: 'chat', inReplyTo: options.replyTo, content: { text: waitingSentence(error) } }] }
      : {}),
  });
  return retry;
}

async function waitFor(retry: RetryState, options: CallOptions, { clock }: CallDeps): Promise<void> {
  const left = retry.nextAt - clock.now();
  if (left <= 0) return;
  options.onWait(retry.nextAt);
  try {
    await clock.sleep(left, AbortSignal.any([options.signal, options.drain]));
  } catch (e) {
    if (options.signal.aborted) throw options.signal.reason;
    if (options.drain.aborted) throw new WaitCutError('the model', retry.nextAt);
    throw e;
  }
}

async function once(provider: Provider, request: ProviderRequest, options: CallOptions, deps: CallDeps): Promise<Answer> {
  const attempt = new AbortController();
  const silence = new Silence(options.noProgressMs, deps.clock, () =>
    attempt.abort(ProviderError.transient('NoProgress', `no sign of life for ${options.noProgressMs} ms`)),
  );
  const signal = AbortSignal.any([options.signal, attempt.signal]);
  options.onTry();
  try {
    for await (const event of provider.stream(request, { signal })) {
      signal.throwIfAborted();
      if (event.type === 'answer') return event;
      silence.broken();
      deps.reached('runner/mid-step');
      options.onEvent(event);
    }
    throw ProviderError.transient('Network', 'the stream ended without an answer');
  } catch (e) {
    // Aborted by us, providers throw an error of their own kind: what counts is why we aborted.
    if (!options.signal.aborted && attempt.signal.aborted) throw attempt.signal.reason;
    throw e;
  } finally {
    await silence.close();
  }
}

const CLOSED = new Error('the call ended');

/** Calls back once when nothing happened for so long. */
class Silence {
  readonly #closed = new AbortController();
  readonly #watching: Promise<void>;
  #since: number;

  constructor(ms: number, clock: Clock, onSilence: () => void) {
    this.#since = clock.now();
    this.#clock = clock;
    this.#watching = this.#watch(ms, onSilence);
  }
  readonly #clock: Clock;

  broken(): void {
    this.#since = this.#clock.now();
  }

  async #watch(ms: number, onSilence: () => void): Promise<void> {
    try {
      for (let left = ms; left > 0; left = this.#since + ms - this.#clock.now()) await this.#clock.sleep(left, this.#closed.signal);
      onSilence();
    } catch {
      // closed: the call ended
    }
  }

  async close(): Promise<void> {
    this.#closed.abort(CLOSED);
    await this.#watching;
  }
}
