/** The slow look at everything, which finds whatever a doorbell, a watch or a crash let slip. One session that fails ends nothing. */
import { readdirSync, statSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { AgentGroup, Session } from '@dovecote/crds';
import { INBOUND_DB, OUTBOUND_DB, peekOutbound, readOutbound } from '@dovecote/proto';
import { ConflictError } from '../../kube/errors.ts';
import { sessions as sessionType } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Cells } from '../cells/cells.ts';
import { emptyTrash } from '../cells/trash.ts';
import type { Limits } from '../limits.ts';
import type { DeliveryMetrics } from '../metrics.ts';
import { unfinishedTurn } from '../outbox/unfinished-turn.ts';
import { FIELD_MANAGER, newSession } from '../session-object.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import { reindex } from '../shard/rebuild.ts';
import type { StorageReports } from '../shard/storage-reports.ts';
import type { Wake } from '../wake/wake.ts';
import { endOrphan, keepOrphan, type OrphanDeps } from './orphan.ts';

export interface SweepDeps {
  readonly shard: string;
  readonly store: ResourceStore;
  readonly sessions: { get(name: string): Session | undefined; list(): readonly Session[] };
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly storage: StorageReports;
  readonly wake: Pick<Wake, 'state' | 'putToSleep' | 'request'>;
  readonly staging: string;
  readonly limits: Pick<Limits, 'stagedMs' | 'orphanMs' | 'trashMs'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<DeliveryMetrics, 'failures' | 'sweepSeconds' | 'cells'>;
  /** Takes what is new in the runner's file. Cheap when nothing is. */
  readonly read: (session: string) => Promise<unknown>;
}

const LOST_CELL =
  'The cell of this session is gone from the volume of its shard. Restore it, or delete the Session to begin anew with the next message.';

export class Sweep {
  readonly #deps: SweepDeps;
  /** change counter of each cell's inbound.db when it was last indexed */
  readonly #indexed = new Map<string, number>();
  /** change counter of each sleeping cell's outbound.db at which no turn was left unfinished */
  readonly #finished = new Map<string, number>();

  readonly #orphans: OrphanDeps;

  constructor(deps: SweepDeps) {
    this.#deps = deps;
    this.#orphans = { cells: deps.cells, index: deps.index, log: deps.log, orphanMs: deps.limits.orphanMs };
  }

  /** Looks at every cell and every Session once. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, metrics, cells, log, limits, staging } = this.#deps;
    const startedAt = clock.now();
    const names = cells.list();
    metrics.cells.set(names.length);
    await this.#each('cell', names, signal, (session) => this.#lookAt(session, signal));
    await this.#each(
      'lost-cell',
      this.#deps.sessions.list().map(({ metadata }) => metadata.name),
      signal,
      async (session) => this.#findLost(session),
    );
    await this.#each('staged', stagedFiles(staging), signal, (name) => this.#dropStale(name));
    try {
      await emptyTrash(cells.root, clock.now(), limits.trashMs, signal);
    } catch (e) {
      signal.throwIfAborted();
      log.error({ err: toError(e) }, 'trash could not be emptied');
    }
    metrics.sweepSeconds.observe((clock.now() - startedAt) / 1000);
  }

  /** Cells that have no Session object get one: after a restored cluster, or when someone deleted it by hand. Nothing is overwritten. */
  async adoptAll(signal: AbortSignal): Promise<void> {
    await this.#each('adopt', this.#deps.cells.list(), signal, (session) => this.#adopt(session, signal));
  }

  /** Every whole cell once, one after the other. One that fails is logged and ends nothing. */
  async each(work: string, signal: AbortSignal, look: (session: string) => Promise<void>): Promise<void> {
    const { cells } = this.#deps;
    const whole = cells.list().filter((session) => cells.has(session));
    await this.#each(work, whole, signal, look);
  }

  async #lookAt(session: string, signal: AbortSignal): Promise<void> {
    const { cells, index } = this.#deps;
    if (!cells.has(session)) return; // half-made: its first message completes it
    const counter = peekOutbound(join(cells.root, 'cells', session, 'in', INBOUND_DB))?.changeCounter;
    if (counter === undefined || this.#indexed.get(session) !== counter) {
      reindex(cells, index, session);
      if (counter !== undefined) this.#indexed.set(session, counter);
    }
    if (this.isAsleep(session)) cells.recover(session);
    await this.#deps.read(session);
    if (this.#deps.storage.current(session).reason === 'OutboundRefused' && isReadable(cells, session))
      this.#deps.storage.clear(session, 'OutboundRefused');
    await this.#adopt(session, signal);
    // Suspended in mid-turn, or put to sleep by an older version: nothing else would go on with it.
    if (this.isAsleep(session) && this.#cutShort(session)) this.#deps.wake.request(session);
  }

  #cutShort(session: string): boolean {
    const { cells } = this.#deps;
    if (!cells.has(session)) return false;
    const header = peekOutbound(join(cells.root, 'cells', session, 'out', OUTBOUND_DB));
    if (header === undefined || this.#finished.get(session) === header.changeCounter) return false;
    const turn = unfinishedTurn(cells.open(session), this.#deps.clock.now());
    if (turn === 'none') this.#finished.set(session, header.changeCounter);
    return turn === 'due';
  }

  /** Confirmed by the controller, which saw its Pod gone: only then is the runner's file ours to repair. */
  isAsleep(session: string): boolean {
    const object = this.#deps.sessions.get(session);
    if (object === undefined || object.spec.awake || this.#deps.wake.state(session) !== 'Asleep') return false;
    const { phase, podUid, observedGeneration } = object.status ?? {};
    // An older status may say Asleep of the time before a wake that was too short to be written.
    if (observedGeneration !== object.metadata.generation) return false;
    return (phase === 'Asleep' || phase === 'Suspended') && podUid === undefined;
  }

  async #adopt(session: string, signal: AbortSignal): Promise<void> {
    const { cells, sessions, agentGroups, store, shard, log } = this.#deps;
    if (sessions.get(session) !== undefined || !cells.has(session)) return;
    const { meta } = cells.open(session);
    const agent = agentGroups.get(meta.agent_group);
    if (agent?.metadata.uid !== meta.agent_group_uid) {
      if (this.#deps.wake.state(session) === 'Asleep') keepOrphan(this.#orphans, session, this.#deps.clock.now());
      return;
    }
    endOrphan(this.#orphans, session);
    if (agent.metadata.deletionTimestamp !== undefined) return;
    try {
      await store.create(sessionType, newSession(meta, shard, agent, false), { fieldManager: FIELD_MANAGER, signal });
      log.info({ session }, 'cell without a Session was adopted');
    } catch (e) {
      if (!(e instanceof ConflictError)) throw e; // it exists, the cache only does not know yet
    }
  }

  #findLost(session: string): void {
    const { cells, storage, sessions, wake, log } = this.#deps;
    if (cells.has(session)) {
      storage.clear(session, 'CellMissing');
      return;
    }
    if (sessions.get(session)?.metadata.deletionTimestamp !== undefined) return;
    cells.release(session); // what is written into a file that is gone from its folder nobody will ever read
    if (storage.report(session, { reason: 'CellMissing', message: LOST_CELL })) log.error({ session }, 'session has lost its cell');
    wake.putToSleep(session, 'CellMissing');
  }

  async #dropStale(name: string): Promise<void> {
    const { staging, clock, limits } = this.#deps;
    const path = join(staging, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat !== undefined && clock.now() - stat.mtimeMs > limits.stagedMs) await unlink(path);
  }

  async #each(work: string, names: readonly string[], signal: AbortSignal, look: (name: string) => Promise<void>): Promise<void> {
    for (const [n, name] of names.entries()) {
      signal.throwIfAborted();
      if (n % 16 === 15) await nextTurn(undefined, { signal }); // messages first
      try {
        await look(name);
      } catch (e) {
        signal.throwIfAborted();
        this.#deps.metrics.failures.inc({ work: `sweep-${work}` });
        this.#deps.log.error({ work, name, err: toError(e) }, 'sweep failed on one item and goes on');
      }
    }
  }
}

function isReadable(cells: Cells, session: string): boolean {
  try {
    const outbound = cells.open(session).outbound();
    if (outbound !== undefined) readOutbound(outbound, () => {});
    return true;
  } catch {
    cells.release(session); // a failed read may leave a lock on the agent's file
    return false;
  }
}

function stagedFiles(staging: string): string[] {
  try {
    return readdirSync(staging);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw e;
  }
}
