import { type Cause, ConflictError, ForbiddenError, GoneError, InvalidError, KubeError, ThrottledError } from './errors.ts';
import { isJsonObject } from './json.ts';

/** A refusal as it stood on the wire, or as `status` in an ERROR event of a watch. */
export interface Refusal {
  /** HTTP status, or Status.code in a stream. */
  readonly code: number;
  /** The Status object, if the body was one. */
  readonly body: unknown;
  /** From the header Retry-After, if there was one. */
  readonly retryAfterMs?: number | undefined;
}

/** What to do when a throttling server names no time. */
const DEFAULT_RETRY_AFTER_MS = 1_000;

/**
 * An API server's refusal in our words. The only place that reads its status codes; it never looks at a message's text.
 * `action` completes "cannot …" for answers that have no sentence of their own.
 */
export function fromKube(action: string, { code, body, retryAfterMs }: Refusal): Error {
  const status = isJsonObject(body) ? body : {};
  const said = typeof status['message'] === 'string' && status['message'] !== '' ? status['message'] : undefined;
  const details = isJsonObject(status['details']) ? status['details'] : {};
  const message = said ?? `cannot ${action}: the API server answered ${code}`;
  switch (code) {
    case 400:
    case 413:
    case 422:
      return new InvalidError(message, causesOf(details['causes']));
    case 401:
    case 403:
      return new ForbiddenError(`cannot ${action}: ${said ?? (code === 401 ? 'the API server does not know our token' : 'forbidden')}`);
    case 409:
      return new ConflictError(status['reason'] === 'AlreadyExists' ? 'AlreadyExists' : 'Conflict', message);
    case 410:
      return new GoneError(message);
    case 429: {
      const seconds = details['retryAfterSeconds'];
      return new ThrottledError(message, retryAfterMs ?? (typeof seconds === 'number' ? seconds * 1_000 : DEFAULT_RETRY_AFTER_MS));
    }
    default:
      return new KubeError(code, `cannot ${action}: ${said ?? 'no reason given'} (${code})`, { said });
  }
}

function causesOf(causes: unknown): Cause[] {
  if (!Array.isArray(causes)) return [];
  return causes.filter(isJsonObject).flatMap((cause) => {
    const { field, reason, message } = cause;
    // The server adds `<nil>` for "some rules were not checked": it names no field that anyone could correct.
    if (field === '<nil>') return [];
    return [
      {
        field: typeof field === 'string' ? field : '',
        reason: typeof reason === 'string' ? reason : '',
        message: typeof message === 'string' ? message : '',
      },
    ];
  });
}
