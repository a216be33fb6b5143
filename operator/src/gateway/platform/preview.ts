/** An answer while it is being written: one message, made by the first call, changed by the later ones, and at last removed or replaced. */
import type { platform } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import { abandonAfter, DeadlineError } from '../../lib/deadline.ts';
import { toError } from '../../lib/errors.ts';
import { StatusError } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import { type ConnectedChannel, type Outcome, type Outgoing, RetryReason } from '../channels/channel.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { partial } from '../render/partial.ts';

/** Shorter than a delivery's: the answer itself waits for a preview that is on its way, and a late one is worth nothing. */
const CALL_MS = 4_000;
/** One message holds no more of it: what follows is seen with the answer. */
const FULL_MS = 15_000;

export interface PreviewDeps {
  readonly find: (channel: string) => { readonly connected: ConnectedChannel | undefined } | undefined;
  readonly limits: { readonly callMs: number };
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<GatewayMetrics, 'platformCalls'>;
}

/** Throws StatusError INVALID_ARGUMENT. */
export async function preview(deps: PreviewDeps, request: platform.PreviewRequest): Promise<platform.PreviewResponse> {
  const { channel, messageId, idempotencyKey, text: markdown } = request;
  if (idempotencyKey === '') throw new StatusError(status.INVALID_ARGUMENT, 'idempotency_key is missing');
  const connected = deps.find(channel)?.connected;
  if (connected === undefined) return failed(RetryReason.NoAdapter, `channel ${channel} does not exist or has not connected yet`);
  if (connected.preview === undefined) return failed('Unsupported', `messages of ${connected.info.type} cannot be changed`);
  if (markdown === '') {
    if (messageId === '') throw new StatusError(status.INVALID_ARGUMENT, 'text is missing');
    const { remove } = connected.preview;
    return answer(deps, request, connected, await call(deps, request, (signal) => remove(request.chat, messageId, signal)), false);
  }
  const { text, full } = partial(markdown, connected.dialect);
  if (text === '') return failed('Invalid', 'the text is blank');
  const outgoing: Outgoing = messageId === '' ? { kind: 'text', text } : { kind: 'edit', target: messageId, text };
  const { chat, thread, replyToMessageId: replyTo } = request;
  const outcome = await call(deps, request, (signal) => connected.deliver({ chat, thread, replyTo, idempotencyKey, outgoing }, signal));
  return answer(deps, request, connected, outcome, full);
}

async function call(
  deps: PreviewDeps,
  { channel, idempotencyKey }: platform.PreviewRequest,
  work: (signal: AbortSignal) => Promise<Outcome>,
): Promise<Outcome> {
  const retry = (reason: RetryReason, message: string): Outcome => ({ type: 'retry', reason, message, afterMs: 0, maybeSent: true });
  try {
    return await abandonAfter(
      { ms: Math.min(CALL_MS, deps.limits.callMs), what: 'show the preview', clock: deps.clock, signal: undefined },
      work,
    );
  } catch (thrown) {
    if (thrown instanceof DeadlineError) return retry(RetryReason.NoAnswer, thrown.message);
    deps.log.error({ channel, key: idempotencyKey, err: toError(thrown) }, 'channel failed in an unforeseen way');
    return retry(RetryReason.Internal, 'the channel failed; the gateway logged it');
  }
}

function answer(
  deps: PreviewDeps,
  { channel, chat, messageId }: platform.PreviewRequest,
  connected: ConnectedChannel,
  outcome: Outcome,
  full: boolean,
): platform.PreviewResponse {
  const label = outcome.type === 'delivered' ? 'delivered' : outcome.reason;
  deps.metrics.platformCalls.inc({ channel, kind: 'preview', outcome: label });
  switch (outcome.type) {
    case 'delivered': {
      const nextAfterMs = Math.max(connected.preview?.everyMs(chat) ?? 0, full ? FULL_MS : 0);
      return { outcome: { $case: 'shown', value: { messageId: outcome.platformMessageId, nextAfterMs } } };
    }
    case 'refused':
      return failed(messageId === '' ? outcome.reason : 'Gone', outcome.message);
    case 'retry':
      return failed(outcome.reason, outcome.message, outcome.afterMs, outcome.maybeSent);
  }
}

function failed(reason: string, message: string, afterMs = 0, maybeSent = false): platform.PreviewResponse {
  return { outcome: { $case: 'failed', value: { reason, message, afterMs, maybeSent } } };
}
