import { TelegramError } from 'telegraf';
import { DeadlineError } from '../../../lib/deadline.ts';
import { TerminalError } from '../../../lib/errors.ts';
import { type Outcome, RefusedReason, RetryReason } from '../channel.ts';
import { neverSent } from '../never-sent.ts';

/** What became of a call that threw. `action` reads "send the message". core.telegram.org/bots/api, "Making requests". */
export function fromTelegram(action: string, thrown: unknown): Outcome {
  const sentence = (why: string): string => `cannot ${action} on Telegram: ${why}`;
  const retry = (reason: RetryReason, why: string, maybeSent = false, afterMs = 0): Outcome => ({
    type: 'retry',
    reason,
    message: sentence(why),
    afterMs,
    maybeSent,
  });
  const refused = (reason: RefusedReason, why: string): Outcome => ({ type: 'refused', reason, message: sentence(why) });

  if (thrown instanceof TelegramError) {
    const { code, description, parameters } = thrown;
    if (code === 429) return retry(RetryReason.RateLimited, description, false, (parameters?.retry_after ?? 30) * 1000);
    // A gateway's timeout: the request went on without it.
    if (code >= 500) return retry(RetryReason.Unavailable, `HTTP ${code}`, code === 504);
    // A token that was never valid is 404.
    if (code === 401 || code === 404) return retry(RetryReason.Unauthorized, description);
    if (code === 403) return refused(RefusedReason.Forbidden, description);
    if (code === 413) return refused(RefusedReason.TooLarge, description);
    const moved = parameters?.migrate_to_chat_id;
    if (moved !== undefined) return refused(RefusedReason.NotFound, `the group became a supergroup, whose chat id is ${moved}`);
    return refused(RefusedReason.Invalid, description);
  }
  if (thrown instanceof DeadlineError) return retry(RetryReason.NoAnswer, 'no answer came', true);
  if (neverSent(thrown)) return retry(RetryReason.Unreachable, 'it cannot be reached');
  return retry(RetryReason.NoAnswer, 'the connection broke before an answer came', true);
}

/** The same for connecting and listening: TerminalError when only new credentials help. */
export function fromTelegramConnect(action: string, thrown: unknown): Error {
  const outcome = fromTelegram(action, thrown);
  const message = outcome.type === 'delivered' ? `cannot ${action}` : outcome.message;
  if (outcome.type !== 'delivered' && outcome.reason === RetryReason.Unauthorized)
    return new TerminalError('Unauthorized', message, { cause: thrown });
  return new Error(message, { cause: thrown });
}

/** An edit that changes nothing is refused, with no code of its own. */
export function isNotModified(thrown: unknown): boolean {
  return thrown instanceof TelegramError && thrown.code === 400 && thrown.description.includes('message is not modified');
}
