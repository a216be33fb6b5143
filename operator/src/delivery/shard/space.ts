/** Free space of the shard's volume: known before it ends, refused while it lasts, resumed by itself. */
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { isDiskFull } from '@dovecote/proto';
import type { Gauge } from 'prom-client';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';

const CHUNK_BYTES = 1024 * 1024;

export interface SpaceOptions {
  readonly root: string;
  readonly reserveBytes: number;
  readonly lowSpaceBytes: number;
  readonly log: Log;
  readonly freeBytesGauge: Pick<Gauge, 'set'>;
  /** Called on each change, not on each look. */
  readonly onChange: (full: boolean) => void;
  /** Another way to ask for the free bytes, for tests. */
  readonly freeBytes?: () => Promise<number>;
}

export class VolumeSpace {
  readonly #options: SpaceOptions;
  readonly #reserve: string;
  readonly #freeBytes: () => Promise<number>;
  #full = false;

  constructor(options: SpaceOptions) {
    this.#options = options;
    this.#reserve = join(options.root, 'reserve');
    this.#freeBytes =
      options.freeBytes ??
      (async () => {
        const { bavail, bsize } = await statfs(options.root);
        return bavail * bsize;
      });
  }

  get full(): boolean {
    return this.#full;
  }

  /** A write failed for want of space: known a second before the next look. */
  noteFull(): void {
    this.#enter();
  }

  /**
   * One look. Full is less than `lowSpaceBytes` free; then the reserve file goes, so that the ledger, the acks and the drain of
   * awake sessions have room to be written. Ends when reserve and twice that fit again, so that it does not flap.
   */
  async check(): Promise<void> {
    const { lowSpaceBytes, reserveBytes, freeBytesGauge } = this.#options;
    const free = await this.#freeBytes();
    freeBytesGauge.set(free);
    if (!this.#full) {
      if (free < lowSpaceBytes) this.#enter();
      else if (!this.#hasReserve() && free >= reserveBytes + 2 * lowSpaceBytes) this.#makeReserve();
    } else if (free >= reserveBytes + 2 * lowSpaceBytes) {
      this.#full = false;
      this.#makeReserve();
      this.#options.log.info({ free }, 'volume has room again');
      this.#options.onChange(false);
    }
  }

  #enter(): void {
    if (this.#full) return;
    this.#full = true;
    rmSync(this.#reserve, { force: true });
    this.#options.log.error('volume is full: new events are refused until there is room');
    this.#options.onChange(true);
  }

  #hasReserve(): boolean {
    return statSync(this.#reserve, { throwIfNoEntry: false })?.size === this.#options.reserveBytes;
  }

  #makeReserve(): void {
    const fd = openSync(this.#reserve, 'w', 0o600);
    try {
      const zeros = Buffer.alloc(CHUNK_BYTES);
      for (let left = this.#options.reserveBytes; left > 0; left -= CHUNK_BYTES) writeSync(fd, zeros, 0, Math.min(left, CHUNK_BYTES));
      fsyncSync(fd);
    } catch (e) {
      if (!isDiskFull(e)) throw e;
      rmSync(this.#reserve, { force: true }); // someone was faster; the next look decides
      this.#options.log.warn({ err: toError(e) }, 'reserve file does not fit');
    } finally {
      closeSync(fd);
    }
  }
}
