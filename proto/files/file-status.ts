import { status } from '@grpc/grpc-js';
import { isDiskFull } from '../cell/open.ts';
import { JailError, type JailReason } from './path-jail.ts';
import { TooLargeError } from './text.ts';
import { CallOverError } from './two-ways.ts';

const CODES: Readonly<Record<JailReason, status>> = {
  Outside: status.PERMISSION_DENIED,
  Link: status.PERMISSION_DENIED,
  ReadOnly: status.PERMISSION_DENIED,
  NotFound: status.NOT_FOUND,
  NotAFolder: status.INVALID_ARGUMENT,
  NotAFile: status.INVALID_ARGUMENT,
  Invalid: status.INVALID_ARGUMENT,
  TooLarge: status.RESOURCE_EXHAUSTED,
  Exists: status.ABORTED,
  Changed: status.ABORTED,
};

/** What the caller of a file call is answered for this failure; undefined: none that the caller can do anything about. */
export function fileStatus(thrown: unknown): { readonly code: status; readonly details: string } | undefined {
  if (thrown instanceof JailError) return { code: CODES[thrown.reason], details: thrown.message };
  if (thrown instanceof TooLargeError) return { code: status.RESOURCE_EXHAUSTED, details: thrown.message };
  if (thrown instanceof CallOverError) return { code: status.CANCELLED, details: thrown.message };
  if (isDiskFull(thrown)) return { code: status.RESOURCE_EXHAUSTED, details: 'the volume is full' };
  return undefined;
}
