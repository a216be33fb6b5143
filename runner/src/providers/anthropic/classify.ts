import Anthropic from '@anthropic-ai/sdk';
import { ProviderError } from '../provider.ts';

/** Longest wait that a provider's answer may ask for, ms: a nonsensical header must not silence an agent for days. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** An SDK error in our terms, by status and error type alone, never by its text. `now`: ms since 1970, for a date in Retry-After. */
export function classify(thrown: unknown, now: number): ProviderError {
  if (thrown instanceof ProviderError) return thrown;
  if (thrown instanceof Anthropic.APIConnectionError)
    return ProviderError.transient('Network', 'the proxy could not be reached', { cause: thrown });
  if (thrown instanceof Anthropic.APIError) return byStatus(thrown.status ?? statusOfType(thrown.type), thrown, now);
  // Inside a stream a broken connection is whatever fetch throws; the token file may be in the middle of an exchange.
  return ProviderError.transient('Network', 'the answer could not be read', { cause: thrown });
}

function byStatus(status: number | undefined, error: InstanceType<typeof Anthropic.APIError>, now: number): ProviderError {
  const message = `the model API answered ${status ?? 'with an error'}${error.type === null || error.type === undefined ? '' : ` (${error.type})`}`;
  const options = { cause: error, retryAfterMs: retryAfter(error.headers, now), sentence: proxySentence(error) };
  switch (status) {
    case 401:
      return ProviderError.permanent('Unauthenticated', message, options);
    case 402:
    case 403:
      return ProviderError.permanent('Forbidden', message, options);
    case 404:
      return ProviderError.permanent('NoSuchModel', message, options);
    case 413:
      return ProviderError.permanent('TooLarge', message, options);
    case 429:
      return ProviderError.transient('RateLimited', message, options);
    case 529:
      return ProviderError.transient('Overloaded', message, options);
    case 408:
    case 409:
    case 425:
      return ProviderError.transient('Unavailable', message, options);
    default:
      return status !== undefined && status >= 400 && status < 500
        ? ProviderError.permanent('BadRequest', message, options)
        : ProviderError.transient('Unavailable', message, options);
  }
}

/** Longer ones are no sentence. */
const MAX_SENTENCE = 500;

/** What the proxy itself says of budget or credential, written for people. Never what comes from behind it. */
function proxySentence({ status, headers, error }: InstanceType<typeof Anthropic.APIError>): string | undefined {
  if (headers?.get('x-dovecote-proxy') !== 'refused' || (status !== 402 && status !== 403)) return undefined;
  const { error: said } = (error ?? {}) as { readonly error?: { readonly message?: unknown } };
  return typeof said?.message === 'string' && said.message !== '' ? said.message.slice(0, MAX_SENTENCE) : undefined;
}

/** An error event inside a stream that began with 200 has a type but no status. */
function statusOfType(type: string | null | undefined): number | undefined {
  switch (type) {
    case 'invalid_request_error':
      return 400;
    case 'authentication_error':
      return 401;
    case 'billing_error':
      return 402;
    case 'permission_error':
      return 403;
    case 'not_found_error':
      return 404;
    case 'request_too_large':
      return 413;
    case 'rate_limit_error':
      return 429;
    case 'overloaded_error':
      return 529;
    default:
      return undefined;
  }
}

function retryAfter(headers: Headers | undefined, now: number): number | undefined {
  const exact = Number(headers?.get('retry-after-ms') ?? Number.NaN);
  if (Number.isFinite(exact) && exact >= 0) return Math.min(exact, MAX_RETRY_AFTER_MS);
  const value = headers?.get('retry-after');
  if (value === null || value === undefined || value === '') return undefined;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) && ms >= 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : undefined;
}
