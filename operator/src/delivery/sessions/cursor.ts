/**
 * Where a reader of conversations is. For each session: the inbound row, the runner's and the host's ledger row up to which
 * everything was shown, and the ledger rows below those that were not settled yet. Rows of each kind only grow at their end and
 * settle once, so nothing is missed and nothing shown twice, whatever restarts or clocks do.
 */
import { StatusError, status } from '../../lib/grpc.ts';

export interface Position {
  /** messages_in.seq */
  readonly inbound: number;
  /** odd ledger seq */
  readonly runner: number;
  /** even ledger seq */
  readonly host: number;
  /** ledger rows seen, but neither delivered nor dead then */
  readonly open: readonly number[];
}

export const START: Position = { inbound: 0, runner: 0, host: 0, open: [] };

export type Positions = ReadonlyMap<string, Position>;

export function formatCursor(positions: Positions): string {
  const entries = [...positions].map(([session, { inbound, runner, host, open }]) => [session, inbound, runner, host, ...open]);
  return Buffer.from(JSON.stringify(entries)).toString('base64url');
}

/** Throws StatusError INVALID_ARGUMENT. Empty: the beginning. */
export function parseCursor(cursor: string): Map<string, Position> {
  if (cursor === '') return new Map();
  try {
    const entries = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as unknown;
    if (!Array.isArray(entries)) throw new TypeError('not a list');
    return new Map(entries.map(parseEntry));
  } catch (e) {
    throw new StatusError(
      status.INVALID_ARGUMENT,
      `after_cursor is not a cursor of ours, current value is ${JSON.stringify(cursor.slice(0, 200))}`,
      { cause: e },
    );
  }
}

function parseEntry(entry: unknown): [string, Position] {
  if (!Array.isArray(entry)) throw new TypeError('not a list');
  const [session, ...numbers] = entry as unknown[];
  if (typeof session !== 'string' || numbers.length < 3 || !numbers.every((n): n is number => Number.isSafeInteger(n)))
    throw new TypeError('not a position');
  const [inbound = 0, runner = 0, host = 0, ...open] = numbers;
  return [session, { inbound, runner, host, open }];
}
