/**
 * What a turn has just claimed, in a small file beside outbound.db that is never synced: it outlives this process, not the machine,
 * which is as much as a try needs to be counted when the message kills its runner. Written in microseconds, where a commit takes a
 * millisecond of every message.
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';

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

const { O_RDONLY, O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW, O_NONBLOCK } = constants;
const MAX_BYTES = 64 * 1024;

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
    const { turn, seqs } = JSON.parse(readShort(path)) as Claim;
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

/** Of a longer one the beginning, which is then no JSON. Never waits: the folder is the agent's, and a pipe in its place would stop each process at its start. */
function readShort(path: string): string {
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const data = Buffer.alloc(MAX_BYTES);
    return data.toString('utf8', 0, readSync(fd, data, 0, MAX_BYTES, null));
  } finally {
    closeSync(fd);
  }
}
