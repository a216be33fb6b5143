/**
 * Hop 8: one row, from `sending` to its recorded outcome. The order is what makes a crash harmless: `sending` is committed before the
 * call, the outcome before a file is removed. Between the two only the platform knows, and is asked at the next start.
 */
import { byteCount } from '@dovecote/crds';
import { platform } from '@dovecote/proto';
import { backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import type { Random } from '../../lib/random.ts';
import type { Cell } from '../cells/cells.ts';
import type { Channels } from './address.ts';
import type { Claim } from './claimed.ts';
import { setAside } from './dead-letters.ts';
import type { Effects } from './effects.ts';
import * as ledger from './ledger.ts';
import type { OutboxMetrics } from './metrics.ts';
import { OutboxFileError, openOutboxFile, removeOutboxFolder } from './outbox-file.ts';
import type { OutboxLimits } from './outbox-limits.ts';
import type { PlatformCalls, SendOutcome, SettleOutcome } from './platform-call.ts';
import * as previews from './preview-rows.ts';

export interface DeliverDeps {
  readonly calls: PlatformCalls;
  readonly channels: Channels;
  readonly clock: Clock;
  readonly random: Random;
  readonly reached: Reached;
  readonly limits: OutboxLimits;
  readonly metrics: OutboxMetrics;
}

export type CallOutcome = { readonly of: 'send'; readonly result: SendOutcome } | { readonly of: 'settle'; readonly result: SettleOutcome };

/** The call itself. Never throws for what the gateway, the platform or the file does. */
export async function call(deps: DeliverDeps, claim: Claim, out: string, signal: AbortSignal): Promise<CallOutcome> {
  const { calls, metrics, reached } = deps;
  const label = claim.mode === 'settle' ? 'settle' : claim.file === undefined ? 'deliver' : 'file';
  const stop = metrics.callSeconds.startTimer({ call: label });
  try {
    if (claim.mode === 'settle') {
      const firstAttemptAtMs = claim.row.first_attempt_at ?? claim.row.created_at;
      return { of: 'settle', result: await calls.settle({ request: claim.request, firstAttemptAtMs }, signal) };
    }
    reached('delivery/after-sending-before-call');
    const result =
      claim.file === undefined ? await calls.send(claim.request, signal) : await sendFile(deps, claim, claim.file, out, signal);
    reached('delivery/after-call-before-record');
    return { of: 'send', result };
  } finally {
    stop();
  }
}

async function sendFile(
  { calls, channels, limits }: DeliverDeps,
  { request, row }: Claim,
  { path, name, mimeType }: NonNullable<Claim['file']>,
  out: string,
  signal: AbortSignal,
): Promise<SendOutcome> {
  const size = channels.get(request.channel)?.spec.maxAttachmentBytes;
  try {
    const file = openOutboxFile(out, row.seq, path, size === undefined ? limits.defaultFileBytes : byteCount(size));
    return await calls.sendFile({ request, name, mimeType }, file, signal);
  } catch (thrown) {
    if (thrown instanceof OutboxFileError) return { type: 'refused', message: thrown.message, ofChat: false };
    // Our own shortage (descriptors, memory), or a disk that fails: nothing was sent.
    return { type: 'retry', message: 'the file could not be opened', afterMs: 0 };
  }
}

/** Writes what came of a call. Inside a transaction. */
export function record(deps: DeliverDeps, cell: Cell, claim: Claim, { of, result }: CallOutcome, now: number, fx: Effects): void {
  const { limits, metrics, channels } = deps;
  const { row } = claim;
  const db = cell.inbound;
  const aside = (reason: string, ofChat: boolean): void => {
    setAside({ session: cell.session, db, limits, now, fx }, { row, noun: claim.noun, reason, ofChat });
  };
  const wait = (afterMs: number): number =>
    now + (afterMs > 0 ? Math.min(afterMs, limits.maxRetryAfterMs) : backoffMs(row.attempts, limits.backoff, deps.random));
  const again = (state: 'failed' | 'in_doubt', message: string, afterMs: number): void => {
    // The sentence names what people can act on; a day of it is enough.
    const age = now - claim.dueSince;
    if (age >= limits.maxAgeMs) {
      aside(`${message}; it was tried for ${Math.round(age / 3_600_000)} h`, true);
      return;
    }
    metrics.outcomes.inc({ outcome: state === 'failed' ? 'retry' : 'in_doubt' });
    ledger.again(db, row.seq, state, message, wait(afterMs), now);
    fx.failed.push({ seq: row.seq, attempts: row.attempts, reason: message });
  };
  fx.changed.add(row.seq);
  fx.lanes.add(claim.lane);
  switch (result.type) {
    case 'sent':
      metrics.outcomes.inc({ outcome: result.more ? 'part' : 'delivered' });
      if (!result.more) metrics.deliverySeconds.observe(Math.max(0, now - claim.dueSince) / 1_000);
      if (claim.preview !== undefined) previews.over(db, claim.preview, 'taken', now);
      ledger.sent(db, { session: cell.session, row, platformMessageId: result.platformMessageId, more: result.more, now });
      return;
    case 'retry':
      again('failed', result.message, result.afterMs);
      return;
    case 'maybe':
      again('in_doubt', result.message, result.afterMs);
      return;
    case 'refused':
      aside(result.message, result.ofChat);
      return;
    case 'later':
      again('in_doubt', result.message, 0);
      return;
    case 'not-sent':
      // A gateway may still be at it for the process before us: not there yet is not never.
      if (now < claim.inFlightUntil) ledger.again(db, row.seq, 'in_doubt', 'it was not there yet', claim.inFlightUntil, now);
      else ledger.again(db, row.seq, 'failed', row.last_error, 0, now);
      return;
    case 'unknowable': {
      const policy = result.policy === '' ? channels.get(claim.request.channel)?.spec.inDoubt : result.policy;
      if (policy === 'DeadLetter') aside('whether it arrived is unknown, and this channel does not send such messages again', false);
      else ledger.again(db, row.seq, 'failed', 'whether it arrived is unknown, it is sent again', 0, now);
      return;
    }
    default:
      throw new Error(`cannot record the outcome of ${of}: ${JSON.stringify(result satisfies never)}`);
  }
}

/** After the commit of `delivered`, and only then: until it, the file is needed for another attempt. */
export function cleanUp({ channels, reached }: DeliverDeps, claim: Claim, { result }: CallOutcome, out: string): void {
  if (result.type !== 'sent') return;
  reached('delivery/after-record-before-cleanup');
  const { kind, channel } = claim.request;
  if (kind === platform.OutboundKind.FILE && !result.more && !keepsFiles(channels, channel)) removeOutboxFolder(out, claim.row.seq);
}

/** The built-in chat shows the ledger itself: what people download are these very files. They count as the session's own size. */
export function keepsFiles(channels: Channels, channel: string): boolean {
  return channels.get(channel)?.spec.type === 'local';
}
