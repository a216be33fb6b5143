/** The real runner as a process of its own, attached to a delivery under test as its Pod would be. For tests only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentHomeSubPath, cellPaths } from '@dovecote/proto';
import { systemClock } from '../../lib/clock.ts';
import type { Bench } from './delivery-bench.ts';

const built = process.env['DOVECOTE_BUILT'];
/** The bundle where `make test` has just made it, source otherwise. */
const MAIN = built === undefined ? join(import.meta.dirname, '../../../../runner/src/main.ts') : join(built, 'runner/main.mjs');

export class RealRunner {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
  #log = '';

  private constructor(child: ChildProcess) {
    this.child = child;
    this.ended = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (data: Buffer) => {
        this.#log += data.toString();
      });
  }

  /** Resolves when delivery has it attached. */
  static async start(bench: Bench, session: string, podUid: string): Promise<RealRunner> {
    const before = bench.delivery().runner(session)?.certificate;
    const paths = cellPaths(bench.root, session);
    const agent = (await bench.session(session))?.metadata.ownerReferences?.[0]?.uid ?? '';
    const token = join(bench.root, `token-${session}-${podUid}`);
    writeFileSync(token, `session:${session}:${podUid}`);
    const flags = {
      session,
      in: paths.in,
      out: paths.out,
      workspace: paths.workspace,
      home: join(bench.root, agentHomeSubPath(agent)),
      attach: bench.delivery().address,
      token,
      'log-level': 'warn',
    };
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
    const env = { ...process.env, NODE_OPTIONS: '' };
    const runner = new RealRunner(spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env }));
    const attached = (): boolean => {
      const now = bench.delivery().runner(session)?.certificate;
      return now !== undefined && now !== before;
    };
    const giveUp = AbortSignal.timeout(60_000);
    while (!attached()) {
      if (giveUp.aborted) throw new Error(`the runner did not attach within a minute\n${runner.#log}`);
      await systemClock.sleep(20, giveUp).catch(() => {}); // told above
    }
    return runner;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
