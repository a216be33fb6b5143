import { types } from 'node:util';

/**
 * The outcomes of work besides "done", as types. Only a queue's worker and the one place that writes conditions look at them.
 * reason is a CamelCase word for machines; message is a sentence for whoever can act.
 */

/** Only a new spec, or a person, can change the result: not retried. */
export class TerminalError extends Error {
  override readonly name: string = 'TerminalError';
  readonly reason: string;
  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Not a failure: something else must happen first. Tried again after `afterMs`. */
export class WaitingError extends Error {
  override readonly name: string = 'WaitingError';
  readonly reason: string;
  readonly afterMs: number;
  constructor(reason: string, message: string, afterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.afterMs = afterMs;
  }
}

/** Anything that was thrown, as an Error. The only place that looks inside an unknown throw. */
export function toError(thrown: unknown): Error {
  // Either way: an error of another realm (a test's sandbox) is no instance of ours, and one made by hand is not native.
  return thrown instanceof Error || types.isNativeError(thrown)
    ? thrown
    : new Error(`a value that is no Error was thrown: ${String(thrown)}`);
}
