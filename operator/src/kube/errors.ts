/** What a cluster can answer besides "yes", as types. `from-kube` makes them of a real server's answers, `embedded` throws them itself. */
import { TerminalError, WaitingError } from '../lib/errors.ts';

/** One field that was refused. `field` is a path such as `spec.slack.mode`, empty when the object as a whole is meant. */
export interface Cause {
  readonly field: string;
  /** Such as FieldValueRequired, FieldValueInvalid, FieldValueForbidden. */
  readonly reason: string;
  readonly message: string;
}

/** 422, 400, 413: the object cannot be stored as it is. The message is the API server's own sentence. */
export class InvalidError extends TerminalError {
  override readonly name = 'InvalidError';
  readonly causes: readonly Cause[];
  constructor(message: string, causes: readonly Cause[] = [], options?: ErrorOptions) {
    super('Invalid', message, options);
    this.causes = causes;
  }
}

/** 403 and 401: a Role is missing, a policy says no, or the token is not known. */
export class ForbiddenError extends TerminalError {
  override readonly name = 'ForbiddenError';
  constructor(message: string, options?: ErrorOptions) {
    super('Forbidden', message, options);
  }
}

/** What is stored has bad form for our types: an older schema, or another writer. Only a new version of it helps. */
export class UnreadableError extends TerminalError {
  override readonly name = 'UnreadableError';
  constructor(message: string, options?: ErrorOptions) {
    super('Unreadable', message, options);
  }
}

/** The cache will have caught up by then. */
const CONFLICT_RETRY_MS = 250;

/** 409: someone else was faster. Read again, decide again. */
export class ConflictError extends WaitingError {
  override readonly name = 'ConflictError';
  constructor(reason: 'Conflict' | 'AlreadyExists', message: string, options?: ErrorOptions) {
    super(reason, message, CONFLICT_RETRY_MS, options);
  }
}

/** 429, after the client's own retries. `afterMs` is what the server asked for. */
export class ThrottledError extends WaitingError {
  override readonly name = 'ThrottledError';
  constructor(message: string, afterMs: number, options?: ErrorOptions) {
    super('Throttled', message, afterMs, options);
  }
}

/** 410, on list and watch only: the resourceVersion or the page is no longer known. List again. */
export class GoneError extends Error {
  override readonly name = 'GoneError';
}

/** Every other answer: worth a backoff. `code` is the HTTP status. */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly code: number;
  /** the server's own sentence, if it had one */
  readonly said: string | undefined;
  constructor(code: number, message: string, options?: ErrorOptions & { readonly said?: string | undefined }) {
    super(message, options);
    this.code = code;
    this.said = options?.said;
  }
}
