import { isDiskFull } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import { JailError, type JailReason } from '../files/path-jail.ts';
import { TooLargeError } from '../files/text.ts';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';

/** What a method throws to answer with a status. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: status;
  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

const CODES: Readonly<Record<JailReason, status>> = {
  Outside: status.PERMISSION_DENIED,
  Link: status.PERMISSION_DENIED,
  ReadOnly: status.PERMISSION_DENIED,
  NotFound: status.NOT_FOUND,
  NotAFolder: status.INVALID_ARGUMENT,
  NotAFile: status.INVALID_ARGUMENT,
  Invalid: status.INVALID_ARGUMENT,
  Exists: status.ABORTED,
};

/** What the caller is answered. Anything that is not a refusal of ours is logged here and answered without its text. */
export function toStatus(thrown: unknown, log: Log): { readonly code: status; readonly details: string } {
  if (thrown instanceof StatusError) return { code: thrown.code, details: thrown.message };
  if (thrown instanceof JailError) return { code: CODES[thrown.reason], details: thrown.message };
  if (thrown instanceof TooLargeError) return { code: status.RESOURCE_EXHAUSTED, details: thrown.message };
  if (isDiskFull(thrown)) return { code: status.RESOURCE_EXHAUSTED, details: 'the volume is full' };
  log.error({ err: toError(thrown) }, 'a call of the container service failed in a way it should not');
  return { code: status.INTERNAL, details: 'internal error; the runner logged it' };
}
