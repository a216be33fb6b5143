/**
 * What a turn has just claimed, in a small file beside outbound.db that is never synced: it outlives this process, not the machine,
 * which is as much as a try needs to be counted when the message kills its runner. Written in microseconds, where a commit takes a
 * millisecond of every message.
 */
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';

export interface ClaimingTurn {
  readonly id: string;
  readonly provider: string;
  readonly model: string | undefined;
  /** seq of the row that began it */
  readonly origin: number | undefined;
}

export interface Claim {
  readonly turn: ClaimingTurn;
  readonly seqs: readonly number[];
}

const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW, O_NONBLOCK } = constants;
const MAX_CHARS = 64 * 1024;

/** False: it could not be written, so the claim must be committed at once. */
export function writeClaimMarker(path: string, claim: Claim): boolean {
  try {
    const fd = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0o640);
    try {
      writeSync(fd, JSON.stringify(claim));
    } finally {
      closeSync(fd);
    }
    return true;
  } catch {
    return false; // a full volume, or a folder that the agent changed
  }
}

/** What a predecessor left. undefined: nothing, or nothing that can be read, as after a power cut. */
export function readClaimMarker(path: string): Claim | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    if (text.length > MAX_CHARS) return undefined;
    const { turn, seqs } = JSON.parse(text) as Claim;
    const sane =
      typeof turn.id === 'string' &&
      typeof turn.provider === 'string' &&
      (turn.model === undefined || typeof turn.model === 'string') &&
      (turn.origin === undefined || Number.isSafeInteger(turn.origin)) &&
      seqs.every((seq) => Number.isSafeInteger(seq) && seq > 0 && seq % 2 === 0);
    return sane ? { turn, seqs } : undefined;
  } catch {
    return undefined;
  }
}
