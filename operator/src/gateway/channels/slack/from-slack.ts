import { WebAPIHTTPError, WebAPIPlatformError, WebAPIRateLimitedError, WebAPIRequestError } from '@slack/web-api';
import { TerminalError, toError } from '../../../lib/errors.ts';
import { type Outcome, RefusedReason, RetryReason } from '../channel.ts';
import { neverSent } from '../never-sent.ts';

/** docs.slack.dev: the errors of chat.postMessage, chat.update, reactions.add and files.completeUploadExternal. */
const UNAUTHORIZED = new Set([
  'invalid_auth',
  'not_authed',
  'account_inactive',
  'token_revoked',
  'token_expired',
  'missing_scope',
  'not_allowed_token_type',
  'org_login_required',
  'two_factor_setup_required',
  'access_denied',
]);
const NOT_FOUND = new Set([
  'channel_not_found',
  'message_not_found',
  'thread_not_found',
  'file_not_found',
  'user_not_found',
  'no_item_specified',
  'bad_timestamp',
]);
const FORBIDDEN = new Set([
  'not_in_channel',
  'is_archived',
  'restricted_action',
  'restricted_action_read_only_channel',
  'restricted_action_thread_only_channel',
  'restricted_action_non_threadable_channel',
  'restricted_action_thread_locked',
  'cant_update_message',
  'edit_window_closed',
  'no_permission',
  'ekm_access_denied',
  'messages_tab_disabled',
]);
const TOO_LARGE = new Set(['msg_too_long', 'file_uploads_disabled', 'storage_limit_reached', 'file_upload_size_restricted']);
const RATE_LIMITED = new Set(['ratelimited', 'rate_limited', 'message_limit_exceeded']);
/** "It's possible some aspect of the operation succeeded before the error was raised." */
const UNCLEAR = new Set(['internal_error', 'fatal_error', 'request_timeout']);
const PASSING = new Set(['service_unavailable', 'team_added_to_org', 'accesslimited']);

/** What became of a call that threw. `action` reads "post the message"; `visible`: had it gone through, people would see it. */
export function fromSlack(action: string, thrown: unknown, visible = true): Outcome {
  const sentence = (why: string): string => `cannot ${action} on Slack: ${why}`;
  const retry = (reason: RetryReason, why: string, maybeSent = false, afterMs = 0): Outcome => ({
    type: 'retry',
    reason,
    message: sentence(why),
    afterMs,
    maybeSent: visible && maybeSent,
  });
  const refused = (reason: RefusedReason, why: string): Outcome => ({ type: 'refused', reason, message: sentence(why) });

  if (thrown instanceof WebAPIRateLimitedError)
    return retry(RetryReason.RateLimited, 'it limits our calls', false, thrown.retryAfter * 1000);
  if (thrown instanceof WebAPIPlatformError) {
    const { error } = thrown.data;
    if (RATE_LIMITED.has(error)) return retry(RetryReason.RateLimited, error, false, 30_000);
    if (UNAUTHORIZED.has(error)) return retry(RetryReason.Unauthorized, error);
    if (UNCLEAR.has(error)) return retry(RetryReason.Unavailable, error, true);
    if (PASSING.has(error)) return retry(RetryReason.Unavailable, error);
    if (NOT_FOUND.has(error)) return refused(RefusedReason.NotFound, error);
    if (FORBIDDEN.has(error)) return refused(RefusedReason.Forbidden, error);
    if (TOO_LARGE.has(error)) return refused(RefusedReason.TooLarge, error);
    return refused(RefusedReason.Invalid, error);
  }
  if (thrown instanceof WebAPIHTTPError) {
    const { statusCode } = thrown;
    // 503 is Slack's own "not now"; the others may come from something before it that lost the answer.
    if (statusCode >= 500) return retry(RetryReason.Unavailable, `HTTP ${statusCode}`, statusCode !== 503);
    return refused(RefusedReason.Invalid, `HTTP ${statusCode}`);
  }
  const cause = thrown instanceof WebAPIRequestError ? thrown.original : toError(thrown);
  if (neverSent(cause)) return retry(RetryReason.Unreachable, 'it cannot be reached');
  return retry(RetryReason.NoAnswer, 'no answer came', true);
}

/** The same for connecting: TerminalError when only new credentials help. */
export function fromSlackConnect(action: string, thrown: unknown): Error {
  const outcome = fromSlack(action, thrown, false);
  if (outcome.type === 'delivered') return toError(thrown);
  if (outcome.reason === RetryReason.Unauthorized) return new TerminalError('Unauthorized', outcome.message, { cause: thrown });
  return new Error(outcome.message, { cause: thrown });
}
