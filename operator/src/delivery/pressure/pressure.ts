/** What is done about a volume that fills: sessions over their quota and, when it is full, the one that grew fastest are drained and told. */
import type { AgentGroup, Session } from '@dovecote/crds';
import type { Gauge } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Background } from '../background.ts';
import type { Cells } from '../cells/cells.ts';
import type { Limits } from '../limits.ts';
import type { Outbox } from '../outbox/outbox.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import { VolumeSpace } from '../shard/space.ts';
import type { StorageReports } from '../shard/storage-reports.ts';
import type { Wake } from '../wake/wake.ts';
import { whoWaits } from '../wake/who-waits.ts';
import { Quota, type Room } from './quota.ts';

export interface PressureDeps {
  readonly root: string;
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly storage: StorageReports;
  readonly sessions: { list(): readonly Session[] };
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly wake: Pick<Wake, 'awake' | 'putToSleep'>;
  readonly outbox: Pick<Outbox, 'notice'>;
  readonly background: Background;
  readonly limits: Pick<Limits, 'reserveBytes' | 'lowSpaceBytes'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: { readonly full: Pick<Gauge, 'set'>; readonly freeBytes: Pick<Gauge, 'set'> };
  /** Another way to ask for the volume's free bytes, for tests. */
  readonly freeBytes?: () => Promise<number>;
}

/** A volume that stays full is relieved of the next one after this long. */
const RELIEVE_AGAIN_MS = 30_000;

export class VolumePressure {
  readonly space: VolumeSpace;
  readonly #deps: PressureDeps;
  readonly #quota: Quota;
  #relievedAt = 0;

  constructor(deps: PressureDeps) {
    this.#deps = deps;
    this.#quota = new Quota({ ...deps, drainAndTell: (session, reason, text) => this.#drainAndTell(session, reason, text) });
    const { root, limits, log, metrics, freeBytes } = deps;
    this.space = new VolumeSpace({
      root,
      reserveBytes: limits.reserveBytes,
      lowSpaceBytes: limits.lowSpaceBytes,
      log,
      freeBytesGauge: metrics.freeBytes,
      ...(freeBytes !== undefined && { freeBytes }),
      onChange: (full) => {
        metrics.full.set(full ? 1 : 0);
        if (full) this.#relieve();
        else this.#letGo();
      },
    });
  }

  /** Looks at the free space; for as long as there is none, one session after the other makes room. */
  look(): void {
    const { background, clock } = this.#deps;
    background.run('space', '', () => this.space.check());
    if (this.space.full && clock.now() - this.#relievedAt >= RELIEVE_AGAIN_MS) this.#relieve();
  }

  /** Measures whoever writes, and whoever is held because he wrote too much. */
  async measure(signal: AbortSignal): Promise<void> {
    // Of an earlier process too: a volume is made larger by a restart.
    if (!this.space.full) this.#letGo();
    await this.#quota.check([...new Set([...this.#deps.wake.awake(), ...this.#heldFor('QuotaExceeded')])], signal);
  }

  #letGo(): void {
    for (const session of this.#heldFor('VolumeFull')) this.#deps.storage.clear(session, 'VolumeFull');
  }

  /** What may still be written into a session that sleeps. */
  room(session: string, place: 'cell' | 'home', signal: AbortSignal): Promise<Room | undefined> {
    return this.#quota.room(session, place, signal);
  }

  #relieve(): void {
    const { background, clock, wake, log } = this.#deps;
    this.#relievedAt = clock.now();
    background.run('relieve', '', async (signal) => {
      const session = await this.#quota.relieve(wake.awake(), signal);
      if (session !== undefined) log.error({ session }, 'volume is full, the session that grew fastest is drained');
    });
  }

  #heldFor(reason: string): string[] {
    const { sessions, storage } = this.#deps;
    return sessions.list().flatMap(({ metadata: { name } }) => (storage.current(name).reason === reason ? [name] : []));
  }

  #drainAndTell(session: string, reason: string, text: string | undefined): void {
    const { wake, background, cells, outbox, clock } = this.#deps;
    wake.putToSleep(session, reason);
    if (text === undefined) return;
    background.run('notice', session, async () => {
      const whom = whoWaits(cells.open(session));
      if (whom === undefined) return;
      const { seq, ...chat } = whom;
      await outbox.notice(session, { id: `storage/${reason}/${seq}/${Math.floor(clock.now() / 60_000)}`, ...chat, text });
    });
  }
}
