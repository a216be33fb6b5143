/** Calls of the gateway that nobody waits for long. What they cannot do is left out. */
import { platform } from '@dovecote/proto';
import { toError } from '../../lib/errors.ts';
import { bearer, isServiceError, unary } from '../../lib/grpc.ts';
import type { TokenSource } from '../../lib/identity.ts';

/** More than the gateway gives the platform. */
const CALL_MS = 6_000;
const SETTLE_MS = 30_000;

export type PreviewOutcome =
  | { readonly type: 'shown'; readonly messageId: string; readonly nextAfterMs: number }
  /** not on this channel */
  | { readonly type: 'unsupported' }
  /** the message is not there any more */
  | { readonly type: 'gone' }
  /** `maybe`: it left and no answer came */
  | { readonly type: 'failed'; readonly message: string; readonly afterMs: number; readonly maybe: boolean };

export class PreviewCalls {
  readonly #client: platform.PlatformClient;
  readonly #tokens: TokenSource;

  constructor(deps: { readonly client: platform.PlatformClient; readonly tokens: TokenSource }) {
    this.#client = deps.client;
    this.#tokens = deps.tokens;
  }

  /** Never rejects. */
  async preview(request: platform.PreviewRequest, signal: AbortSignal): Promise<PreviewOutcome> {
    let response: platform.PreviewResponse;
    try {
      response = await unary(this.#client, this.#client.preview, request, await this.#options(CALL_MS, signal));
    } catch (thrown) {
      return { type: 'failed', message: detailsOf(thrown), afterMs: 0, maybe: true };
    }
    switch (response.outcome?.$case) {
      case 'shown':
        return { type: 'shown', ...response.outcome.value };
      case 'failed': {
        const { reason, message, afterMs, maybeSent: maybe } = response.outcome.value;
        if (reason === 'Unsupported') return { type: 'unsupported' };
        return reason === 'Gone' ? { type: 'gone' } : { type: 'failed', message, afterMs, maybe };
      }
      default:
        return { type: 'failed', message: 'the gateway gave an answer that this version does not understand', afterMs: 0, maybe: true };
    }
  }

  /** Whether the message of that key stands there. `later`: not known yet. Never rejects. */
  async settle(
    address: Pick<platform.DeliverRequest, 'channel' | 'chat' | 'thread' | 'idempotencyKey'>,
    firstAttemptAtMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly messageId: string } | 'not-there' | 'unknowable' | 'later'> {
    const request: platform.DeliverRequest = {
      ...address,
      kind: platform.OutboundKind.CHAT,
      content: JSON.stringify({ text: '…' }), // found by its key alone
      part: 0,
      targetMessageId: '',
      attempt: 1,
      traceparent: '',
      replyToMessageId: '',
    };
    try {
      const options = await this.#options(SETTLE_MS, signal);
      const { verdict, platformMessageId } = await unary(this.#client, this.#client.settle, { request, firstAttemptAtMs }, options);
      if (verdict === platform.SettleResponse_Verdict.SENT) return { messageId: platformMessageId };
      if (verdict === platform.SettleResponse_Verdict.NOT_SENT) return 'not-there';
      return verdict === platform.SettleResponse_Verdict.UNKNOWABLE ? 'unknowable' : 'later';
    } catch {
      return 'later';
    }
  }

  /** Rejects freely. */
  async typing(request: platform.TypingRequest, signal: AbortSignal): Promise<void> {
    await unary(this.#client, this.#client.typing, request, await this.#options(CALL_MS, signal));
  }

  async #options(deadlineMs: number, signal: AbortSignal): Promise<Parameters<typeof unary>[3]> {
    return { metadata: await bearer(this.#tokens, 'dovecote-gateway'), deadlineMs, signal };
  }
}

function detailsOf(thrown: unknown): string {
  return isServiceError(thrown) ? thrown.details : toError(thrown).message;
}
