/**
 * Hop 5 of a message: from a durable row to a runner that knows of it. Rings the attached one, or asks for a Pod by spec.awake, if
 * admission has room. Everything here is memory over rows: what is lost is found again by the next tick.
 */
import { type AgentGroup, durationMs, type Session } from '@dovecote/crds';
import { attach } from '@dovecote/proto';
import type { Gauge, Histogram } from 'prom-client';
import type { ResourceStore } from '../../kube/store.ts';
import { type Backoff, backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { AttachHub } from '../attach/hub.ts';
import { prepared } from '../cells/statements.ts';
import type { Limits } from '../limits.ts';
import { newSession, writeAwake, writeTitle } from '../session-object.ts';
import type { Feed } from '../shard/feed.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import type { StorageReports } from '../shard/storage-reports.ts';
import { type AdmissionDecision, admit } from './admission.ts';
import { decideSleep, type SleepInput } from './sleep-decision.ts';
import { Teller, type TellerDeps } from './teller.ts';

export interface WakeDeps extends TellerDeps {
  readonly shard: string;
  readonly store: ResourceStore;
  readonly sessions: { get(name: string): Session | undefined; list(): readonly Session[] };
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly index: ShardIndex;
  readonly hub: Pick<AttachHub, 'isAttached' | 'ring' | 'drain' | 'progress'>;
  readonly storage: Pick<StorageReports, 'held'>;
  readonly feed: Feed;
  readonly limits: Pick<Limits, 'maxAwakePerShard' | 'drainMs'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: {
    readonly awake: Pick<Gauge, 'set'>;
    readonly queued: Pick<Gauge, 'set'>;
    readonly wakeSeconds: Pick<Histogram, 'observe'>;
  };
  /** Brings the agent's configuration into the cell. */
  readonly project: (session: string) => void;
  /** A last look at the runner's file. */
  readonly read: (session: string) => Promise<void>;
  readonly openOutbound: (session: string) => number;
  /** Asks the runner's file. */
  readonly unfinishedTurn: (session: string) => boolean;
}

export type WakeState = 'Asleep' | 'Queued' | 'Waking' | 'Awake' | 'Draining';

interface Queued {
  readonly since: number;
  told: boolean;
}
interface Desired {
  readonly awake: boolean;
  readonly at: number;
}

const RETRY: Backoff = { baseMs: 500, maxMs: 30_000 };
/** Whoever waits longer than a wake takes is told. */
const TELL_AFTER_MS = 2_000;
/** A cache that has not shown our write after this long never will: someone wrote another value right behind it. */
const TRUST_OWN_WRITE_MS = 30_000;
/** After a runner was asked to drain and its deadline passed, the Pod is removed anyway. */
const DRAIN_SLACK_MS = 5_000;

export class Wake {
  readonly #deps: WakeDeps;
  readonly #awake = new Set<string>();
  readonly #queue = new Map<string, Queued>();
  readonly #desired = new Map<string, Desired>();
  readonly #leaving = new Map<string, { readonly reason: string; readonly gone: PromiseWithResolvers<void> }>();
  readonly #retry = new Map<string, { readonly attempt: number; readonly at: number }>();
  readonly #activeAt = new Map<string, number>();
  readonly #wakingSince = new Map<string, number>();
  readonly #titled = new Set<string>();
  readonly #teller: Teller;
  #waiting: AdmissionDecision['waiting'] = [];
  #admitting = false;

  constructor(deps: WakeDeps) {
    this.#deps = deps;
    this.#teller = new Teller(deps);
  }

  /** Sessions that have, or are to have, a Pod. */
  awake(): readonly string[] {
    return [...this.#awake];
  }

  state(session: string): WakeState {
    if (this.#queue.has(session)) return 'Queued';
    if (this.#leaving.has(session)) return 'Draining';
    if (!this.#awake.has(session)) return 'Asleep';
    return this.#deps.hub.isAttached(session) ? 'Awake' : 'Waking';
  }

  /** 1 is next; 0: does not wait. */
  queuePosition(session: string): number {
    return this.#waiting.findIndex((one) => one.session === session) + 1;
  }

  /** It did something: messages, answers and turns count, doorbells do not. */
  active(session: string): void {
    this.#activeAt.set(session, this.#deps.clock.now());
  }

  /** Tells the runner of a session that is awake and stays so. False: it must be asked for. */
  ring(session: string): boolean {
    if (!this.#awake.has(session) || this.#leaving.has(session) || !this.#deps.hub.isAttached(session)) return false;
    return this.#deps.hub.ring(session, this.#highestSeq(session));
  }

  /** A message of the session is due. Never throws, waits for nothing; doing it again is harmless. */
  request(session: string): void {
    const { sessions, storage, hub, clock } = this.#deps;
    if (this.#leaving.has(session)) return; // the end of the drain looks again
    if (!this.#hasAgent(session)) return; // nothing can answer; the next tick sees it come back
    const object = sessions.get(session);
    if (object?.metadata.deletionTimestamp !== undefined) return; // the sweep makes it anew when it is gone
    if (this.#awake.has(session)) {
      if (hub.isAttached(session)) hub.ring(session, this.#highestSeq(session));
      return;
    }
    if (object?.spec.suspended === true) {
      this.#teller.suspended(session);
      return;
    }
    const held = storage.held(session);
    if (held !== undefined) {
      this.#teller.held(session, held);
      return;
    }
    if ((this.#retry.get(session)?.at ?? 0) > clock.now()) return;
    if (this.#queue.has(session)) return;
    this.#queue.set(session, { since: clock.now(), told: false });
    this.#admitSoon();
  }

  /** Puts an awake session to sleep, for a reason other than idleness. */
  putToSleep(session: string, reason: string): void {
    if (!this.#awake.has(session) || this.#leaving.has(session)) return;
    const leaving = { reason, gone: Promise.withResolvers<void>() };
    this.#leaving.set(session, leaving);
    this.#deps.feed.changed(session);
    this.#deps.background.run('sleep', session, (signal) => this.#sleep(session, reason, leaving.gone.promise, signal));
  }

  onAttached(session: string): void {
    const { clock, metrics, hub, feed } = this.#deps;
    const since = this.#wakingSince.get(session);
    if (since !== undefined) metrics.wakeSeconds.observe((clock.now() - since) / 1000);
    this.#wakingSince.delete(session);
    this.active(session);
    // A runner that dialled anew while it was to leave has not heard it.
    const leaving = this.#leaving.get(session);
    if (leaving !== undefined) hub.drain(session, leaving.reason, clock.now() + this.#deps.limits.drainMs);
    feed.changed(session);
  }

  onProgress(session: string, progress: attach.Progress): void {
    this.active(session);
    this.#deps.feed.changed(session);
    // Whoever waits for a place may have this one's.
    if (progress.phase === attach.Progress_Phase.IDLE && this.#queue.size > 0) this.#admitSoon();
  }

  /**
   * Its model has named it: people who list Sessions see that at once, by one write. A further name in the same wake goes with the sleep:
   * the file is the agent's, and one that renames itself without end costs nothing.
   */
  titled(session: string, title: string): void {
    if (!this.#awake.has(session) || this.#leaving.has(session) || this.#titled.has(session)) return;
    this.#titled.add(session);
    this.#deps.background.run('title', session, (signal) => writeTitle(this.#deps.store, session, title, signal));
  }

  /** It has drained, or its stream ended while it was asked to. */
  onGone(session: string): void {
    this.#leaving.get(session)?.gone.resolve();
    this.#deps.feed.changed(session);
  }

  /** The cache has news of the session; undefined: the object is gone. */
  onSession(name: string, session: Session | undefined): void {
    const desired = this.#desired.get(name);
    if (desired !== undefined && (session?.spec.awake ?? false) === desired.awake) this.#desired.delete(name);
    const awake = this.#desired.get(name)?.awake ?? session?.spec.awake ?? false;
    this.#setAwake(name, awake);
    if (session !== undefined && awake) this.#teller.blocked(session);
  }

  /** Each second: whoever is due is woken, whoever is idle may sleep, whoever waits is told. */
  tick(): void {
    const { clock, index, sessions, log } = this.#deps;
    const now = clock.now();
    for (const [session, desired] of this.#desired) {
      if (now - desired.at < TRUST_OWN_WRITE_MS) continue;
      this.#desired.delete(session);
      this.onSession(session, sessions.get(session));
    }
    for (const session of new Set([...index.due(now), ...this.#awake])) {
      try {
        if (!this.#awake.has(session)) this.request(session);
        else if (!this.#leaving.has(session)) this.#reconsider(session, now);
      } catch (e) {
        log.error({ session, err: toError(e) }, 'session could not be looked at');
      }
    }
    this.#admit();
    for (const [session, queued] of this.#queue) {
      if (queued.told || now - queued.since < TELL_AFTER_MS) continue;
      queued.told = true;
      try {
        this.#teller.queued(session, this.queuePosition(session) - 1);
      } catch (e) {
        log.error({ session, err: toError(e) }, 'whoever waits for a session could not be told');
      }
    }
  }

  #reconsider(session: string, now: number): void {
    const { index, sessions, hub, clock } = this.#deps;
    const object = sessions.get(session);
    const facts = index.get(session);
    if (facts === undefined) return;
    const idle = this.#saysIdle(session);
    const attached = hub.isAttached(session);
    if (attached && idle && facts.next_due !== null && facts.next_due <= now) hub.ring(session, this.#highestSeq(session));
    const agent = this.#deps.agentGroups.get(facts.agent_group);
    const input: SleepInput = {
      now: clock.now(),
      suspended: object?.spec.suspended ?? false,
      idleTimeoutMs: agent === undefined ? 0 : durationMs(agent.spec.idleTimeout),
      nextDue: facts.next_due,
      openOutbound: 0,
      unfinishedTurn: false,
      runner: attached ? (idle ? 'idle' : 'busy') : 'absent',
      jobsUntil: this.#jobsUntil(session),
      lastActivity: this.#lastActivity(session),
    };
    if (!decideSleep(input).sleep) return; // mostly: so the files need not be asked each second
    const decision = decideSleep({
      ...input,
      openOutbound: this.#deps.openOutbound(session),
      unfinishedTurn: this.#deps.unfinishedTurn(session),
    });
    if (decision.sleep) this.putToSleep(session, decision.reason);
  }

  /** By what its runner says, and within what its agent may: whatever a Pod says keeps it no longer than that. */
  #jobsUntil(session: string): number {
    const until = this.#deps.hub.progress(session)?.jobsUntilMs ?? 0;
    const agent = this.#deps.agentGroups.get(this.#deps.index.get(session)?.agent_group ?? '');
    if (until === 0 || agent === undefined) return 0;
    return Math.min(until, this.#lastActivity(session) + durationMs(agent.spec.limits.jobTime));
  }

  #lastActivity(session: string): number {
    return Math.max(this.#activeAt.get(session) ?? 0, this.#deps.index.get(session)?.last_activity ?? 0);
  }

  #admit(): void {
    const { index, hub, agentGroups, limits, metrics } = this.#deps;
    for (const session of this.#queue.keys()) {
      if (this.#awake.has(session) || !this.#hasAgent(session)) this.#queue.delete(session);
    }
    const agentOf = (session: string): string => index.get(session)?.agent_group ?? '';
    const decision = admit({
      awake: [...this.#awake].map((session) => ({
        session,
        agent: agentOf(session),
        leaving: this.#leaving.has(session),
        idleSince: this.#isIdle(session) ? this.#lastActivity(session) : undefined,
      })),
      queue: [...this.#queue.keys()].map((session) => ({ session, agent: agentOf(session) })),
      maxPerShard: limits.maxAwakePerShard,
      maxPerAgent: (name) => {
        const agent = agentGroups.get(name);
        // Each shard of an agent keeps its part of the limit: together they hold to it without asking each other.
        return agent === undefined ? 0 : Math.ceil(agent.spec.limits.maxAwake / Math.max(1, agent.status?.shards?.length ?? 1));
      },
    });
    this.#waiting = decision.waiting;
    for (const session of decision.wake) this.#wake(session);
    for (const session of decision.sleep) if (hub.isAttached(session)) this.putToSleep(session, 'Capacity');
    metrics.queued.set(this.#queue.size);
    metrics.awake.set(this.#awake.size);
  }

  /** Once for all that ask in this turn of the event loop: a burst over a hundred sessions is one decision. */
  #admitSoon(): void {
    if (this.#admitting) return;
    this.#admitting = true;
    setImmediate(() => {
      this.#admitting = false;
      if (!this.#deps.background.signal.aborted) this.#admit();
    });
  }

  /** False also where another agent has its name now: that one must not answer, nor wait in its place. */
  #hasAgent(session: string): boolean {
    const { index, agentGroups } = this.#deps;
    const facts = index.get(session);
    return facts !== undefined && agentGroups.get(facts.agent_group)?.metadata.uid === facts.agent_group_uid;
  }

  #isIdle(session: string): boolean {
    const { hub, index, clock } = this.#deps;
    const facts = index.get(session);
    return hub.isAttached(session) && this.#saysIdle(session) && facts?.next_due === null && this.#jobsUntil(session) <= clock.now();
  }

  /** A runner that said nothing yet has begun nothing yet. */
  #saysIdle(session: string): boolean {
    const phase = this.#deps.hub.progress(session)?.phase;
    return phase === undefined || phase === attach.Progress_Phase.IDLE;
  }

  #wake(session: string): void {
    const { clock, background, sessions } = this.#deps;
    this.#queue.delete(session);
    this.#teller.forget(session);
    this.#desired.set(session, { awake: true, at: clock.now() });
    this.#wakingSince.set(session, clock.now());
    this.#setAwake(session, true);
    this.active(session);
    background.run('wake', session, async (signal) => {
      try {
        this.#deps.project(session);
        await this.#write(session, true, signal);
        this.#retry.delete(session);
      } catch (e) {
        const attempt = (this.#retry.get(session)?.attempt ?? 0) + 1;
        this.#retry.set(session, { attempt, at: clock.now() + backoffMs(attempt, RETRY, this.#deps.random) });
        this.#desired.delete(session);
        this.onSession(session, sessions.get(session));
        throw e;
      }
    });
  }

  async #sleep(session: string, reason: string, gone: Promise<void>, signal: AbortSignal): Promise<void> {
    const { hub, clock, limits, log } = this.#deps;
    try {
      if (hub.drain(session, reason, clock.now() + limits.drainMs)) {
        const stop = new AbortController();
        const late = clock.sleep(limits.drainMs + DRAIN_SLACK_MS, AbortSignal.any([signal, stop.signal])).then(
          () => log.warn({ session }, 'runner did not drain in time'),
          () => {},
        );
        await Promise.race([gone, late]);
        stop.abort();
        signal.throwIfAborted();
      }
      if (this.#deps.cells.has(session)) await this.#deps.read(session); // rows of the drain itself go out at once
      for (let attempt = 1; ; attempt += 1) {
        try {
          await this.#write(session, false, signal);
          break;
        } catch (e) {
          signal.throwIfAborted();
          log.error({ session, attempt, err: toError(e) }, 'session could not be put to sleep and is tried again');
          await clock.sleep(backoffMs(attempt, RETRY, this.#deps.random), signal);
        }
      }
      this.#desired.set(session, { awake: false, at: clock.now() });
      this.#setAwake(session, false);
    } finally {
      this.#leaving.delete(session);
      this.#deps.feed.changed(session);
    }
    // A message that came while it drained.
    const facts = this.#deps.index.get(session);
    if (facts !== undefined && facts.next_due !== null && facts.next_due <= clock.now()) this.request(session);
    this.#admitSoon();
  }

  async #write(name: string, awake: boolean, signal: AbortSignal): Promise<void> {
    const { store, sessions, agentGroups, cells, shard } = this.#deps;
    await writeAwake(
      store,
      {
        name,
        awake,
        known: sessions.get(name) !== undefined,
        title: this.#deps.index.get(name)?.title,
        object: () => {
          const { meta } = cells.open(name);
          const agent = agentGroups.get(meta.agent_group);
          if (agent === undefined || agent.metadata.uid !== meta.agent_group_uid)
            throw new Error(`cannot make Session ${name}: its AgentGroup ${meta.agent_group} does not exist`);
          return newSession(meta, shard, agent, awake);
        },
      },
      signal,
    );
  }

  #setAwake(session: string, awake: boolean): void {
    if (awake === this.#awake.has(session)) return;
    if (awake) {
      this.#awake.add(session);
      this.#deps.cells.pin(session);
    } else {
      this.#awake.delete(session);
      this.#wakingSince.delete(session);
      this.#activeAt.delete(session);
      this.#titled.delete(session);
      this.#deps.cells.unpin(session);
    }
    this.#deps.feed.changed(session);
  }

  #highestSeq(session: string): number {
    const { inbound } = this.#deps.cells.open(session);
    return (prepared(inbound, 'SELECT max(seq) FROM messages_in').pluck().get() as number | null) ?? 0;
  }
}
