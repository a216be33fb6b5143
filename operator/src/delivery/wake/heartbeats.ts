/**
 * Runners that stand still: the process is there and its event loop does not turn, so that it hears neither a stop nor a drain. Each
 * touches its heartbeat file by a timer; one whose file does not move any more, and whose port still takes connections, is ended.
 */
import { lstatSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { cellPaths, HEARTBEAT } from '@dovecote/proto';
import type { Counter } from 'prom-client';
import type { Log } from '../../lib/log.ts';
import type { AttachHub } from '../attach/hub.ts';
import { RUNNER_ADDRESS } from '../attach/runner-address.ts';
import type { Background } from '../background.ts';
import type { Wake } from './wake.ts';

export interface HeartbeatsDeps {
  readonly root: string;
  readonly wake: Pick<Wake, 'awake' | 'state' | 'putToSleep'>;
  readonly hub: Pick<AttachHub, 'endpoint'>;
  readonly background: Pick<Background, 'run'>;
  readonly log: Log;
  readonly failures: Pick<Counter<'work'>, 'inc'>;
}

interface Seen {
  /** of its file, ms since 1970; 0: there is none */
  readonly beat: number;
  /** It was seen to move: a Pod that is still being made, or a runner of another kind, is not judged. */
  readonly beats: boolean;
  /** host:port, as the runner said it when it attached */
  address: string | undefined;
  /** looks that found it as before */
  still: number;
}

/** Looks, not time: a machine that slept has had one look, however long it slept. */
export const LOOKS = 9;
const CONNECT_MS = 5_000;

export class Heartbeats {
  readonly #deps: HeartbeatsDeps;
  readonly #seen = new Map<string, Seen>();

  constructor(deps: HeartbeatsDeps) {
    this.#deps = deps;
  }

  /** One look at every session that is awake. */
  look(): void {
    const { root, wake, hub, background } = this.#deps;
    const awake = wake.awake().filter((session) => wake.state(session) !== 'Draining');
    for (const session of this.#seen.keys()) if (!awake.includes(session)) this.#seen.delete(session);
    for (const session of awake) {
      const before = this.#seen.get(session);
      const beat = beatOf(join(cellPaths(root, session).out, HEARTBEAT));
      const address = hub.endpoint(session)?.address ?? before?.address;
      if (before === undefined || beat !== before.beat) {
        this.#seen.set(session, { beat, beats: before !== undefined, address, still: 0 });
        continue;
      }
      before.address = address;
      before.still += 1;
      if (!before.beats || before.still < LOOKS || address === undefined) continue;
      before.still = 0;
      background.run('hung-runner', session, () => this.#endIfThere(session, before, address));
    }
  }

  /** One that has died takes no connection: its kubelet starts it again. */
  async #endIfThere(session: string, judged: Seen, address: string): Promise<void> {
    const { wake, log, failures } = this.#deps;
    if (!(await takesConnections(address)) || this.#seen.get(session) !== judged) return;
    log.error({ session, lastBeat: new Date(judged.beat).toISOString() }, 'runner stands still and is ended: the next one goes on');
    failures.inc({ work: 'hung-runner' });
    wake.putToSleep(session, 'Hung');
  }
}

function beatOf(path: string): number {
  try {
    return lstatSync(path).mtimeMs;
  } catch {
    return 0; // the folder is the agent's
  }
}

function takesConnections(address: string): Promise<boolean> {
  if (!RUNNER_ADDRESS.test(address)) return Promise.resolve(false);
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(address.slice(colon + 1)), timeout: CONNECT_MS });
    const end = (taken: boolean) => (): void => {
      socket.destroy();
      resolve(taken);
    };
    socket.once('connect', end(true));
    socket.once('timeout', end(false));
    socket.once('error', end(false));
  });
}
