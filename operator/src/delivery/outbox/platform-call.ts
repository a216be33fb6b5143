/** Calls of the gateway's Platform service, and what each way in which they end says about the message: sent, not sent, or unknown. */

import { platform } from '@dovecote/proto';
import type { CallOptions, ServiceError } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import { bearer, isServiceError, type Metadata, status } from '../../lib/grpc.ts';
import type { TokenSource } from '../../lib/identity.ts';
import type { OutboxFile } from './outbox-file.ts';
import { OutboxFileError } from './outbox-file.ts';
import type { OutboxLimits } from './outbox-limits.ts';

export type SendOutcome =
  | { readonly type: 'sent'; readonly platformMessageId: string; readonly more: boolean }
  /** surely not sent; `afterMs` 0: our own backoff */
  | { readonly type: 'retry'; readonly message: string; readonly afterMs: number }
  /** it may have been sent */
  | { readonly type: 'maybe'; readonly message: string; readonly afterMs: number }
  /** `ofChat`: nothing can be sent there, so it is no use to say so there */
  | { readonly type: 'refused'; readonly message: string; readonly ofChat: boolean };

export type SettleOutcome =
  | { readonly type: 'sent'; readonly platformMessageId: string; readonly more: boolean }
  | { readonly type: 'not-sent' }
  /** '' when the gateway does not say */
  | { readonly type: 'unknowable'; readonly policy: string }
  | { readonly type: 'later'; readonly message: string };

/** The gateway's words for refusals that concern the message, not the chat. */
const OF_CONTENT: ReadonlySet<string> = new Set(['Invalid', 'TooLarge', 'Unsupported']);

type Call = { cancel(): void; getPeer(): string };
type Done<T> = (error: ServiceError | null, response: T) => void;

export class PlatformCalls {
  readonly #client: platform.PlatformClient;
  readonly #tokens: TokenSource;
  readonly #clock: Clock;
  readonly #limits: OutboxLimits;

  constructor(deps: {
    readonly client: platform.PlatformClient;
    readonly tokens: TokenSource;
    readonly clock: Clock;
    readonly limits: OutboxLimits;
  }) {
    this.#client = deps.client;
    this.#tokens = deps.tokens;
    this.#clock = deps.clock;
    this.#limits = deps.limits;
  }

  send(request: platform.DeliverRequest, signal: AbortSignal): Promise<SendOutcome> {
    return this.#deliver(this.#limits.callMs, signal, (metadata, done) => this.#client.deliver(request, metadata, NO_OPTIONS, done));
  }

  /** Streams the file behind the request. Always closes it. */
  async sendFile(info: Omit<platform.DeliverFileInfo, 'sizeBytes'>, file: OutboxFile, signal: AbortSignal): Promise<SendOutcome> {
    let failed: OutboxFileError | undefined;
    let stream: Promise<void> | undefined;
    try {
      const outcome = await this.#deliver(this.#limits.fileCallMs, signal, (metadata, done) => {
        let ended = false;
        const call = this.#client.deliverFile(metadata, NO_OPTIONS, (error, response) => {
          ended = true;
          done(error, response);
        });
        stream = (async () => {
          try {
            call.write({ part: { $case: 'info', value: { ...info, sizeBytes: file.sizeBytes } } });
            for await (const chunk of file.chunks()) {
              if (ended) return; // answered before the end: refused
              if (!call.write({ part: { $case: 'chunk', value: chunk } })) await drained(call);
            }
            call.end();
          } catch (thrown) {
            if (thrown instanceof OutboxFileError) failed = thrown;
            call.cancel();
          }
        })();
        return call;
      });
      await stream;
      // Cut before its last byte, the gateway has not sent it.
      return failed === undefined ? outcome : { type: 'refused', message: failed.message, ofChat: false };
    } finally {
      file.close();
    }
  }

  async settle(request: platform.SettleRequest, signal: AbortSignal): Promise<SettleOutcome> {
    let response: platform.SettleResponse;
    try {
      response = await this.#call(this.#limits.settleMs, signal, (metadata, done: Done<platform.SettleResponse>) =>
        this.#client.settle(request, metadata, NO_OPTIONS, done),
      );
    } catch (thrown) {
      return { type: 'later', message: `cannot ask whether it was sent: ${detailsOf(thrown)}` };
    }
    switch (response.verdict) {
      case platform.SettleResponse_Verdict.SENT:
        return { type: 'sent', platformMessageId: response.platformMessageId, more: response.more };
      case platform.SettleResponse_Verdict.NOT_SENT:
        return { type: 'not-sent' };
      case platform.SettleResponse_Verdict.UNKNOWABLE:
        return { type: 'unknowable', policy: response.policy };
      default:
        return { type: 'later', message: 'the gateway cannot tell yet whether it was sent' };
    }
  }

  async #deliver(
    ms: number,
    signal: AbortSignal,
    start: (metadata: Metadata, done: Done<platform.DeliverResponse>) => Call,
  ): Promise<SendOutcome> {
    let call: Call | undefined;
    try {
      const response = await this.#call<platform.DeliverResponse>(ms, signal, (metadata, done) => {
        call = start(metadata, done);
        return call;
      });
      return outcomeOf(response);
    } catch (thrown) {
      return this.#classify(thrown, call);
    }
  }

  #classify(thrown: unknown, call: Call | undefined): SendOutcome {
    const message = `cannot reach the gateway: ${detailsOf(thrown)}`;
    // A call that was given no connection has the target's own name as its peer: nothing of it left.
    if (call === undefined || call.getPeer() === this.#client.getChannel().getTarget()) return { type: 'retry', message, afterMs: 0 };
    // A status that the gateway itself answered comes with headers; one made up here because the connection broke has none.
    if (!isServiceError(thrown) || Object.keys(thrown.metadata.getMap()).length === 0) return { type: 'maybe', message, afterMs: 0 };
    switch (thrown.code) {
      case status.INVALID_ARGUMENT:
        return { type: 'refused', message: thrown.details, ofChat: false };
      case status.UNAVAILABLE:
      case status.UNAUTHENTICATED:
      case status.PERMISSION_DENIED:
      case status.RESOURCE_EXHAUSTED:
      case status.FAILED_PRECONDITION:
      case status.NOT_FOUND:
      case status.UNIMPLEMENTED:
        return { type: 'retry', message, afterMs: 0 };
      default:
        return { type: 'maybe', message, afterMs: 0 };
    }
  }

  /** Our Clock keeps the deadline. Ends when the call has ended, not before. */
  async #call<T>(ms: number, signal: AbortSignal, start: (metadata: Metadata, done: Done<T>) => Call): Promise<T> {
    const metadata = await bearer(this.#tokens, 'dovecote-gateway');
    signal.throwIfAborted();
    const over = new AbortController();
    try {
      return await new Promise<T>((resolve, reject) => {
        const call = start(metadata, (error, response) => (error === null ? resolve(response) : reject(error)));
        this.#clock.sleep(ms, AbortSignal.any([over.signal, signal])).then(
          () => call.cancel(),
          () => {
            if (!over.signal.aborted) call.cancel();
          },
        );
      });
    } finally {
      over.abort(new Error('the call has ended'));
    }
  }
}

const NO_OPTIONS: Partial<CallOptions> = {};

function outcomeOf({ outcome }: platform.DeliverResponse): SendOutcome {
  switch (outcome?.$case) {
    case 'delivered':
      return { type: 'sent', platformMessageId: outcome.value.platformMessageId, more: outcome.value.more };
    case 'retry': {
      const { message, afterMs, maybeSent } = outcome.value;
      return { type: maybeSent ? 'maybe' : 'retry', message, afterMs };
    }
    case 'refused':
      return { type: 'refused', message: outcome.value.message, ofChat: !OF_CONTENT.has(outcome.value.reason) };
    default:
      // A newer gateway's outcome that we do not know.
      return { type: 'maybe', message: 'the gateway gave an answer that this version does not understand', afterMs: 0 };
  }
}

function drained(call: { once(event: 'drain' | 'close' | 'error', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ['drain', 'close', 'error'] as const) call.once(event, resolve);
  });
}

function detailsOf(thrown: unknown): string {
  return isServiceError(thrown) ? thrown.details : toError(thrown).message;
}
