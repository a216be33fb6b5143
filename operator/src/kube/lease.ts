/**
 * One acting process among many, by a Lease: the controller's leadership, and a gateway's ownership of a Channel.
 *
 * Clocks of two machines are never compared. Whoever wants the Lease watches it change, and takes it when it has not changed for
 * its whole duration by its own monotonic clock. Whoever has it stops working `renewDeadlineMs` after its last renewal began,
 * so that `leaseMs - renewDeadlineMs` are left for the work to end before another may start.
 */
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { ConflictError } from './errors.ts';
import type { LeaseShare } from './lease-share.ts';
import type { KubeMetrics } from './metrics.ts';
import { type Lease, leases } from './resource-types.ts';
import type { ResourceStore } from './store.ts';

export interface LeaseTimes {
  /** After this long without a renewal another may take it. Whole seconds. */
  readonly leaseMs: number;
  /** After this long without a successful renewal the holder stops. Less than leaseMs. */
  readonly renewDeadlineMs: number;
  /** Between renewals, and between looks at another's Lease. */
  readonly retryMs: number;
}

/** For the one controller: a new leader acts at most 17 s after the old one died. */
export const LEADER_TIMES: LeaseTimes = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000 };
/** For hundreds of Channels at once: one write per Channel and 10 s. */
export const MANY_LEASES_TIMES: LeaseTimes = { leaseMs: 40_000, renewDeadlineMs: 30_000, retryMs: 10_000 };

export interface LeaseOptions {
  readonly store: ResourceStore;
  readonly name: string;
  /** Of this very process, not of its Pod's name: a restarted container must not take itself for its predecessor. */
  readonly identity: string;
  readonly fieldManager: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly times?: LeaseTimes;
  readonly clock: Clock;
  /** Milliseconds that never jump. `performance.now` unless a test says otherwise. */
  readonly monotonicMs?: () => number;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: KubeMetrics;
  /** Where another's Lease is looked at instead of asking the API, when a Reflector of Leases runs anyway. */
  readonly cache?: { get(name: string): Lease | undefined };
  /** Where siblings hold many Leases: each is to have as many. */
  readonly share?: LeaseShare;
  readonly signal: AbortSignal;
}

/** Why the signal of the work aborted, when it was not the caller's own. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/** The Lease is handed to a sibling that has fewer: the work ends as by the caller's own signal. */
class LeaseGivenError extends Error {
  override readonly name = 'LeaseGivenError';
}

/**
 * Runs `work` while this process holds the Lease; waits for the Lease before, and again after it was lost. The signal of `work`
 * aborts when the Lease is lost or `signal` aborts; it must then end soon. Only when it has ended is the Lease released.
 * Ends when `signal` aborts, or when `work` returns by itself; throws what `work` throws while it is not being stopped.
 */
export async function runWhileLeader(options: LeaseOptions, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const election = new Election(options);
  while (!options.signal.aborted) {
    if (!(await election.acquire())) return;
    if ((await election.hold(work)) === 'finished') return;
  }
}

class Election {
  readonly #options: LeaseOptions;
  readonly #times: LeaseTimes;
  readonly #now: () => number;
  readonly #log: Log;
  /** Another's Lease as we saw it change last, and when that was on our clock. */
  #seen: { readonly mark: string; readonly at: number } | undefined;
  #mine: Lease | undefined;
  #renewedAt = 0;
  /** On our clock: who was asked for this Lease answers within that time. */
  #askedUntil = 0;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#times = options.times ?? LEADER_TIMES;
    const { leaseMs, renewDeadlineMs, retryMs } = this.#times;
    if (!(retryMs < renewDeadlineMs && renewDeadlineMs < leaseMs))
      throw new RangeError('a Lease needs retryMs < renewDeadlineMs < leaseMs');
    this.#now = options.monotonicMs ?? (() => performance.now());
    this.#log = options.log.child({ lease: options.name, identity: options.identity });
  }

  /** Waits until the Lease is ours. False when the signal aborted first. */
  async acquire(): Promise<boolean> {
    const { signal, clock, random } = this.#options;
    while (!signal.aborted) {
      try {
        if (await this.#tryToTake()) {
          this.#log.info({}, 'lease taken');
          this.#options.metrics?.leader.set({ name: this.#options.name }, 1);
          return true;
        }
      } catch (thrown) {
        if (signal.aborted) return false;
        // Someone else was faster: what is seen next time says who.
        if (!(thrown instanceof ConflictError)) this.#log.error({ err: toError(thrown) }, 'cannot look at the lease');
      }
      // Spread, or all candidates write in the same moment and all but one in vain.
      const ms = this.#now() < this.#askedUntil ? this.#times.retryMs / 10 : this.#times.retryMs;
      await clock.sleep(ms * (1 + 0.2 * random.fraction()), signal).catch(() => {});
    }
    return false;
  }

  /** Works and renews until one of them ends. The Lease is free or another's when this returns. */
  async hold(work: (signal: AbortSignal) => Promise<void>): Promise<'finished' | 'lost' | 'stopped'> {
    const { signal } = this.#options;
    const working = new AbortController();
    const renewing = new AbortController();
    const stop = (): void => working.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    let heir: string | undefined;
    const give = (to: string): void => {
      heir = to;
      this.#log.info({ to }, 'lease is given to a sibling that has fewer');
      working.abort(new LeaseGivenError(`Lease ${this.#options.name} is given to ${to}`));
    };
    const renewal = this.#renewUntilLost(renewing.signal, give).then((lost) => {
      if (lost === undefined) return;
      this.#log.error({ err: lost }, 'lease lost');
      this.#options.metrics?.leader.set({ name: this.#options.name }, 0);
      working.abort(lost);
    });
    let failure: { readonly thrown: unknown } | undefined;
    try {
      await work(working.signal);
    } catch (thrown) {
      failure = { thrown };
    }
    const byItself = !working.signal.aborted;
    // Renewed until here: work that drains slowly at the end must not have a second worker beside it.
    renewing.abort();
    await renewal;
    signal.removeEventListener('abort', stop);
    const lost = working.signal.reason instanceof LeaseLostError;
    if (lost) {
      const lateMs = this.#now() - this.#renewedAt - this.#times.leaseMs;
      if (lateMs > 0) this.#log.error({ lateMs }, 'work went on after its lease had run out');
      this.#mine = undefined;
    } else {
      await this.#release(heir);
    }
    this.#options.share?.letGo();
    if (byItself && failure !== undefined) throw failure.thrown;
    if (failure !== undefined) this.#log.info({ err: toError(failure.thrown) }, 'work ended by its signal');
    return byItself ? 'finished' : lost ? 'lost' : 'stopped';
  }

  async #tryToTake(): Promise<boolean> {
    const { identity, share, clock, signal } = this.#options;
    const seen = await this.#look();
    if (seen?.spec?.holderIdentity === identity) return this.#take(seen); // given to us, or ours before an answer was lost
    if (!this.#isFree(seen)) {
      await this.#ask(seen);
      return false;
    }
    if (share === undefined) return this.#take(seen);
    return share.inTurn(clock, signal, async () => {
      const now = await this.#look();
      return this.#isFree(now) && (await this.#take(now));
    });
  }

  async #take(seen: Lease | undefined): Promise<boolean> {
    const { name, identity, store, labels, fieldManager, share } = this.#options;
    const startedAt = this.#now();
    const time = this.#microTime();
    const spec = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(this.#times.leaseMs / 1_000),
      acquireTime: time,
      renewTime: time,
    };
    if (seen === undefined) {
      const lease = { metadata: { name, labels, ...(share && { annotations: share.held() }) }, spec: { ...spec, leaseTransitions: 0 } };
      return this.#took(startedAt, await this.#call((signal) => store.create(leases, lease, { fieldManager, signal })));
    }
    const { resourceVersion } = seen.metadata;
    const metadata = { resourceVersion, ...(share && { annotations: share.annotations() }) };
    const patch = { metadata, spec: { ...spec, leaseTransitions: (seen.spec?.leaseTransitions ?? 0) + 1 } };
    const taken = await this.#call((signal) => store.patch(leases, name, patch, { fieldManager, signal }));
    return taken === undefined ? false : this.#took(startedAt, taken);
  }

  async #look(): Promise<Lease | undefined> {
    const { name, store, cache } = this.#options;
    return cache?.get(name) ?? (await this.#call((signal) => store.get(leases, name, { signal })));
  }

  #isFree(lease: Lease | undefined): boolean {
    return (lease?.spec?.holderIdentity ?? '') === '' || (lease !== undefined && this.#ranOut(lease));
  }

  /** A sibling that has more than its part, for this one. */
  async #ask(lease: Lease | undefined): Promise<void> {
    const { name, identity, store, fieldManager, share } = this.#options;
    const annotations = lease && share?.ask(lease, identity);
    if (annotations === undefined) return;
    const patch = { metadata: { resourceVersion: lease?.metadata.resourceVersion, annotations } };
    await this.#call((signal) => store.patch(leases, name, patch, { fieldManager, signal }));
    this.#askedUntil = this.#now() + 2 * this.#times.retryMs;
  }

  #took(startedAt: number, lease: Lease): boolean {
    this.#options.share?.took();
    this.#mine = lease;
    this.#renewedAt = startedAt;
    this.#seen = undefined;
    return true;
  }

  /** By our own clock: it must have stood still for as long as its holder may take. */
  #ranOut(lease: Lease): boolean {
    // Not by its version: who asks for a Lease writes on it too, and would keep a dead holder's alive.
    const { holderIdentity, renewTime, leaseTransitions } = lease.spec ?? {};
    const mark = `${lease.metadata.uid}/${holderIdentity}/${renewTime}/${leaseTransitions}`;
    const now = this.#now();
    if (this.#seen?.mark !== mark) {
      this.#seen = { mark, at: now };
      return false;
    }
    return now - this.#seen.at > (lease.spec?.leaseDurationSeconds ?? 0) * 1_000;
  }

  /** Resolves with the reason when the Lease is lost, with undefined when `signal` aborts. */
  async #renewUntilLost(signal: AbortSignal, give: (to: string) => void): Promise<LeaseLostError | undefined> {
    const { clock, name } = this.#options;
    let last: unknown;
    for (;;) {
      const leftMs = this.#renewedAt + this.#times.renewDeadlineMs - this.#now();
      if (leftMs <= 0) return new LeaseLostError(`cannot renew Lease ${name} for ${this.#times.renewDeadlineMs} ms`, { cause: last });
      await clock.sleep(Math.min(this.#times.retryMs, leftMs), signal).catch(() => {});
      if (signal.aborted) return undefined;
      try {
        const lost = await this.#renew(give);
        if (lost !== undefined) return lost;
      } catch (thrown) {
        last = thrown;
        this.#log.info({ err: toError(thrown) }, 'lease not renewed, trying again');
      }
    }
  }

  /** Not ended by the end of the work: a renewal cut off half way may have been done, and then the release would meet a version it does not know. */
  async #renew(give: (to: string) => void): Promise<LeaseLostError | undefined> {
    const { store, name, identity, fieldManager, clock, share } = this.#options;
    const startedAt = this.#now();
    const leftMs = this.#renewedAt + this.#times.renewDeadlineMs - startedAt;
    if (leftMs <= 0) return undefined; // the loop says so
    return withDeadline({ ms: leftMs, what: `renew Lease ${name}`, clock, signal: undefined }, async (within) => {
      for (let changed = 0; ; changed += 1) {
        try {
          const { resourceVersion } = this.#mine?.metadata ?? {};
          const metadata = { resourceVersion, ...(share && { annotations: share.annotations() }) };
          const patch = { metadata, spec: { renewTime: this.#microTime() } };
          const renewed = await store.patch(leases, name, patch, { fieldManager, signal: within });
          if (renewed === undefined) return new LeaseLostError(`Lease ${name} was deleted`);
          this.#mine = renewed;
          this.#renewedAt = startedAt;
          return undefined;
        } catch (e) {
          if (!(e instanceof ConflictError)) throw e;
          // Taken by another, or changed by someone (one who asks for it, or a renewal of ours whose answer was lost): then go on from there.
          const now = await store.get(leases, name, { signal: within });
          if (now?.spec?.holderIdentity !== identity)
            return new LeaseLostError(`Lease ${name} was taken by ${now?.spec?.holderIdentity ?? 'nobody'}`);
          this.#mine = now;
          const heir = share?.giveTo(now);
          if (heir !== undefined) give(heir);
          if (changed > 0) throw e;
        }
      }
    });
  }

  /** So that the next one need not wait: free for any, or `heir`'s already. When it fails the Lease runs out by itself. */
  async #release(heir: string | undefined): Promise<void> {
    const { store, name, fieldManager, clock, metrics, signal } = this.#options;
    metrics?.leader.set({ name }, 0);
    const { uid, resourceVersion } = this.#mine?.metadata ?? {};
    this.#mine = undefined;
    const patch = {
      metadata: { uid, resourceVersion },
      spec:
        heir === undefined || signal.aborted
          ? { holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#microTime() }
          : { holderIdentity: heir, renewTime: this.#microTime() },
    };
    try {
      // Not under the caller's signal: that has aborted, which is why we release.
      const deadline = { ms: this.#times.renewDeadlineMs / 2, what: `release Lease ${name}`, clock, signal: undefined };
      await withDeadline(deadline, (signal) => store.patch(leases, name, patch, { fieldManager, signal }));
      this.#log.info({}, 'lease released');
    } catch (thrown) {
      this.#log.info({ err: toError(thrown) }, 'lease not released, it runs out by itself');
    }
  }

  #call<R>(call: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const { clock, name, signal } = this.#options;
    return withDeadline({ ms: this.#times.renewDeadlineMs, what: `look at Lease ${name}`, clock, signal }, call);
  }

  /** For people: nobody computes with it. */
  #microTime(): string {
    return new Date(this.#options.clock.now()).toISOString().replace('Z', '000Z');
  }
}
