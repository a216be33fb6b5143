import { readdirSync, readFileSync } from 'node:fs';

/** Names the command that a process belongs to; its children inherit it, whatever group or session they move to. */
export const COMMAND_MARK = 'DOVECOTE_COMMAND';

/** A process that forks while it is looked for is met by the next look. */
const LOOKS = 10;

/**
 * Ends the process group of `leader` and, on Linux, every process that carries the mark: those that left the group as daemons
 * do. SIGKILL, which nothing can ignore. A process that wiped its own environment is out of reach; it ends with the Pod.
 */
export function endProcesses(leader: number, mark: string): void {
  signalGroup(leader, 'SIGKILL');
  for (let look = 0; look < LOOKS; look += 1) {
    const found = marked(mark);
    if (found.length === 0) return;
    for (const pid of found) send(pid, 'SIGKILL');
  }
}

export function signalGroup(leader: number, signal: NodeJS.Signals): void {
  send(-leader, signal);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH: it has ended
  }
}

function marked(mark: string): readonly number[] {
  const wanted = `${COMMAND_MARK}=${mark}`;
  return pids().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(wanted);
    } catch {
      return false; // ended meanwhile, or another user's
    }
  });
}

function pids(): readonly number[] {
  try {
    return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
  } catch {
    return []; // no such file system here: the group alone is ended
  }
}
