import { fileStatus } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
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

/** What the caller is answered. Anything that is not a refusal of ours is logged here and answered without its text. */
export function toStatus(thrown: unknown, log: Log): { readonly code: status; readonly details: string } {
  if (thrown instanceof StatusError) return { code: thrown.code, details: thrown.message };
  const known = fileStatus(thrown);
  if (known !== undefined) return known;
  log.error({ err: toError(thrown) }, 'a call of the container service failed in a way it should not');
  return { code: status.INTERNAL, details: 'internal error; the runner logged it' };
}
