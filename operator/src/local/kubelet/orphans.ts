/** Runners that an earlier run of this program left behind when it was killed. Two runners on one cell would break it. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { codeOf } from './error-code.ts';
import { signalIfThere } from './process.ts';

/** The name of the file in a Pod's folder that says which process runs it. */
export const PID_FILE = 'process';

export interface OrphanDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** How long an orphan has to save what it does. */
  readonly graceMs: number;
}

const LOOK_MS = 20;

/** Below a kubelet's folder: one folder per Pod, by uid. */
export function podsDirOf(kubeletDir: string): string {
  return join(kubeletDir, 'pods');
}

/**
 * Ends every recorded process of a kubelet's folder that is still the one recorded, all at once. Resolves when none of them runs. Whoever
 * opens cells before the kubelet starts calls it first: until then a runner of the run before may be writing.
 */
export async function endOrphans(kubeletDir: string, deps: OrphanDeps, signal: AbortSignal): Promise<void> {
  const podsDir = podsDirOf(kubeletDir);
  const found = readdirIfThere(podsDir).flatMap((uid) => {
    const file = join(podsDir, uid, PID_FILE);
    const record = readRecord(file);
    if (record !== undefined && runs(record)) return [{ uid, file, record }];
    rmSync(file, { force: true });
    return [];
  });
  for (const { uid, record } of found) {
    deps.log.warn({ podUid: uid, pid: record.pid }, 'ending a runner that an earlier run left behind');
    signalIfThere(record.pid, 'SIGTERM');
  }
  const deadline = deps.clock.now() + deps.graceMs;
  let killed = false;
  for (let left = found; left.length > 0; ) {
    left = left.filter(({ record }) => runs(record));
    if (left.length === 0) break;
    if (!killed && deps.clock.now() >= deadline) {
      for (const { record } of left) signalIfThere(-record.pid, 'SIGKILL');
      killed = true;
    }
    await deps.clock.sleep(LOOK_MS, signal);
  }
  for (const { file } of found) rmSync(file, { force: true });
}

interface ProcessRecord {
  readonly pid: number;
  /** When it began, in words of the system: a number is given to another process once its own is gone. */
  readonly mark: string;
}

/** undefined when there is none, or one that was cut short: then the process did not come to be a runner. */
function readRecord(file: string): ProcessRecord | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
  const [pid = '', start = '', boot = ''] = text.split('\n');
  if (!/^[0-9]+$/.test(pid) || start === '') return undefined;
  return { pid: Number(pid), mark: markOf(start, boot) };
}

function runs({ pid, mark }: ProcessRecord): boolean {
  const now = lookUp(pid);
  return now !== undefined && now === mark;
}

/** undefined: no such process, or one that has ended and only waits to be forgotten. */
function lookUp(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    if (/\) [ZX] /.test(stat)) return undefined;
    return markOf(stat, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'));
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT' && codeOf(thrown) !== 'ESRCH') throw thrown;
  }
  if (process.platform === 'linux') return undefined;
  try {
    const line = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return markOf(line, 'none');
  } catch {
    return undefined; // ps says by its exit code that there is none
  }
}

/** The 22nd field of /proc/pid/stat, counted from behind the name, which may hold anything; or the time that ps prints. */
function markOf(start: string, boot: string): string {
  const ticks = !start.includes(') ') ? start.trim() : start.slice(start.lastIndexOf(') ') + 2).split(' ')[19];
  return `${ticks} ${boot.trim()}`;
}

function readdirIfThere(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return [];
    throw thrown;
  }
}
