/** The real runner as a process of its own. For tests only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { TestCell } from './cell.ts';

const built = process.env['DOVECOTE_BUILT'];
/** The bundle that `make test` has just made, as the image runs it: it starts with a third of the work. From source when there is none that is surely new. */
export const MAIN: string = built === undefined ? join(import.meta.dirname, '..', 'main.ts') : join(built, 'runner/main.mjs');

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class RunnerProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<ProcessEnd>;
  #log = '';

  constructor(cell: TestCell, extra: readonly string[] = []) {
    const flags = ['--session', 'helper-abc', '--in', cell.in, '--out', cell.out, '--workspace', cell.workspace, '--home', cell.home];
    this.child = spawn(process.execPath, [MAIN, ...flags, '--log-level', 'warn', ...extra], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.on('data', (data: Buffer) => {
      this.#log += data.toString();
    });
    this.child.stderr?.on('data', (data: Buffer) => {
      this.#log += data.toString();
    });
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve({ code, signal })));
  }

  get log(): string {
    return this.#log;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** SIGTERM, then the end. */
  async drain(): Promise<ProcessEnd> {
    this.kill('SIGTERM');
    return this.ended;
  }
}

/** Waits for a condition of the files, looked at more and more seldom: a look costs as much as a step of the runner. */
export async function until(what: string, condition: () => boolean, ms = 240_000): Promise<void> {
  const end = Date.now() + ms;
  for (let pause = 5; !condition(); pause = Math.min(pause * 1.3, 40)) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
