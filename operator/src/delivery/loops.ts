/** What delivery does again and again, each loop a named task: doorbells are hints, these find what they miss. */
import type { Clock } from '../lib/clock.ts';
import type { TaskGroup } from '../lib/task-group.ts';
import type { Background } from './background.ts';
import type { Limits } from './limits.ts';
import type { Outbox } from './outbox/outbox.ts';
import type { VolumePressure } from './pressure/pressure.ts';
import type { Previews } from './previews/previews.ts';
import type { TypingIndicator } from './previews/typing.ts';
import type { Search } from './search/search.ts';
import type { Sweep } from './sweep/sweep.ts';
import type { Usage } from './usage/usage.ts';
import { type Heartbeats, LOOKS } from './wake/heartbeats.ts';
import type { Wake } from './wake/wake.ts';

export interface LoopDeps {
  readonly wake: Wake;
  readonly heartbeats: Heartbeats;
  readonly outbox: Outbox;
  readonly previews: Previews;
  readonly typing: TypingIndicator;
  readonly pressure: VolumePressure;
  readonly search: Search;
  readonly sweep: Sweep;
  readonly usage: Usage;
  readonly background: Background;
  readonly limits: Pick<Limits, 'pollMs' | 'measureMs' | 'sweepMs' | 'hungMs'>;
  readonly clock: Clock;
  /** Takes what is new in the runner's file. */
  readonly read: (session: string) => Promise<void>;
}

/** Until the group is closed. */
export function runLoops(tasks: TaskGroup, deps: LoopDeps): void {
  const { wake, heartbeats, outbox, previews, typing, pressure, search, sweep, usage, background, limits, clock, read } = deps;
  tasks.run('previews', (signal) => stoppable(previews.run(signal), signal));
  tasks.run('typing', (signal) => stoppable(typing.run(signal), signal));
  tasks.run('search', (signal) => search.run(signal));
  tasks.run('tick', async (signal) => {
    for (let looks = 0; !signal.aborted; looks += 1) {
      for (const session of wake.awake()) background.run('read', session, () => read(session));
      wake.tick();
      usage.retryRefused();
      // Nobody writes while all sleep: then once a minute is enough.
      if (looks % 60 === 0 || pressure.space.full || wake.awake().length > 0) pressure.look();
      await stoppable(clock.sleep(limits.pollMs, signal));
    }
  });
  tasks.run('heartbeats', async (signal) => {
    for (;;) {
      await stoppable(clock.sleep(limits.hungMs / LOOKS, signal));
      if (signal.aborted) return;
      heartbeats.look();
    }
  });
  tasks.run('measure', async (signal) => {
    for (;;) {
      await stoppable(clock.sleep(limits.measureMs, signal));
      if (signal.aborted) return;
      await stoppable(pressure.measure(signal), signal);
    }
  });
  tasks.run('sweep', async (signal) => {
    await stoppable(
      sweep.each('resume', signal, async (session) => {
        await outbox.resume(session);
        previews.resume(session);
      }),
      signal,
    );
    while (!signal.aborted) {
      await stoppable(sweep.run(signal), signal);
      usage.tick();
      await stoppable(clock.sleep(limits.sweepMs, signal));
    }
  });
}

/** A wait that the shutdown cuts short is no failure. Without a signal every rejection counts as that: only sleeps come without. */
async function stoppable(work: Promise<unknown>, signal?: AbortSignal): Promise<void> {
  try {
    await work;
  } catch (e) {
    if (signal !== undefined && !signal.aborted) throw e;
  }
}
