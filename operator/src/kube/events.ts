/**
 * Kubernetes Events: what `kubectl describe` shows under an object. For transitions, never for states: a reconciler that says
 * the same at each pass gets one Event with a count. They are news, not data: losing one is counted and harms nothing.
 */
import type { Condition } from '@dovecote/crds';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { Bell } from './bell.ts';
import { transitions } from './conditions.ts';
import type { KubeMetrics } from './metrics.ts';
import { events } from './resource-types.ts';
import type { KubeObject, ResourceStore } from './store.ts';

export interface NewEvent {
  /** The object that it is about. */
  readonly regarding: KubeObject;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, for programs: why. */
  readonly reason: string;
  /** CamelCase: what was being done, such as StartPod. */
  readonly action: string;
  /** A sentence for people. No secrets, no text of a chat. */
  readonly note: string;
}

export interface EventLimits {
  /** Written at once for one object and reason; then one more each `refillMs`. */
  readonly burst: number;
  readonly refillMs: number;
  /** Repetitions within this long belong to one series. */
  readonly seriesMs: number;
  /** How often the count of a series is written. */
  readonly countMs: number;
  /** Not yet written ones that are kept; the newest are dropped. */
  readonly queued: number;
}

export const EVENT_LIMITS: EventLimits = { burst: 10, refillMs: 60_000, seriesMs: 360_000, countMs: 30_000, queued: 1_000 };

const NOTE_MAX_CHARS = 1_000; // the server takes 1024 bytes
/** Series, and buckets, remembered at once. */
const REMEMBERED = 2_000;
const CALL_MS = 10_000;

interface Series {
  readonly name: string;
  count: number;
  lastAt: number;
  writtenCount: number;
  writtenAt: number;
}

export class EventRecorder {
  readonly #store: ResourceStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #metrics: KubeMetrics | undefined;
  readonly #reporter: { readonly controller: string; readonly instance: string };
  readonly #limits: EventLimits;
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  readonly #queue: { readonly name: string; readonly at: number; readonly event: NewEvent; readonly key: string }[] = [];
  readonly #bell = new Bell();

  constructor(deps: {
    readonly store: ResourceStore;
    /** controller: such as `dovecote.dev/delivery`. instance: this Pod. */
    readonly reporter: { readonly controller: string; readonly instance: string };
    readonly clock: Clock;
    readonly random: Random;
    readonly log: Log;
    readonly metrics?: KubeMetrics;
    readonly limits?: Partial<EventLimits>;
  }) {
    this.#store = deps.store;
    this.#reporter = deps.reporter;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#log = deps.log;
    this.#metrics = deps.metrics;
    this.#limits = { ...EVENT_LIMITS, ...deps.limits };
  }

  /** Never throws, never waits: written by `run`. */
  record(event: NewEvent): void {
    const { uid, name } = event.regarding.metadata;
    const now = this.#clock.now();
    const key = JSON.stringify([uid, event.type, event.reason, event.action, event.note]);
    const known = this.#series.get(key);
    if (known !== undefined && now - known.lastAt < this.#limits.seriesMs) {
      known.count += 1;
      known.lastAt = now;
      return;
    }
    if (this.#queue.length >= this.#limits.queued) {
      this.#metrics?.droppedEvents.inc({ cause: 'queue' });
      return;
    }
    if (!this.#mayWrite(`${uid}/${event.reason}`, now)) {
      this.#metrics?.droppedEvents.inc({ cause: 'rate' });
      return;
    }
    const eventName = `${name.slice(0, 200)}.${this.#random.id(16)}`;
    this.#remember(this.#series, key, { name: eventName, count: 1, lastAt: now, writtenCount: 0, writtenAt: now });
    this.#queue.push({ name: eventName, at: now, event, key });
    this.#bell.ring();
  }

  /** One Event for each condition whose status or reason changed. `isGood` says which statuses are Normal. */
  recordTransitions(
    regarding: KubeObject,
    conditions: { readonly before: readonly Condition[] | undefined; readonly after: readonly Condition[] | undefined },
    isGood: (condition: Condition) => boolean = (c) => c.status !== 'False',
  ): void {
    for (const condition of transitions(conditions.before, conditions.after)) {
      this.record({
        regarding,
        type: isGood(condition) ? 'Normal' : 'Warning',
        reason: condition.reason,
        action: `${condition.type}Changed`,
        note: condition.message === '' ? `${condition.type} is ${condition.status}` : condition.message,
      });
    }
  }

  /** Writes until `signal` aborts, and then, for a moment, what is left. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#writeQueued(signal);
      await this.#writeCounts(signal);
      if (this.#queue.length === 0) await this.#bell.wait(this.#limits.countMs, this.#clock, signal);
    }
    const last = { ms: CALL_MS / 2, what: 'write the last Events', clock: this.#clock, signal: undefined };
    await withDeadline(last, (within) => this.#writeQueued(within)).catch(() => {}); // news that came too late
  }

  async #writeQueued(signal: AbortSignal): Promise<void> {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const { name, at, event, key } = next;
      const { regarding } = event;
      const written = await this.#try(signal, (within) =>
        this.#store.create(
          events,
          {
            metadata: { name },
            eventTime: microTime(at),
            reportingController: this.#reporter.controller,
            reportingInstance: this.#reporter.instance,
            type: event.type,
            reason: event.reason,
            action: event.action,
            note: event.note.length > NOTE_MAX_CHARS ? `${event.note.slice(0, NOTE_MAX_CHARS - 1)}…` : event.note,
            regarding: {
              apiVersion: regarding.apiVersion,
              kind: regarding.kind,
              name: regarding.metadata.name,
              namespace: regarding.metadata.namespace,
              uid: regarding.metadata.uid,
              resourceVersion: regarding.metadata.resourceVersion,
            },
          },
          { fieldManager: this.#reporter.controller.replaceAll('/', '-'), signal: within },
        ),
      );
      const series = this.#series.get(key);
      if (series?.name !== name) continue;
      if (written) series.writtenCount = 1;
      else this.#series.delete(key); // said again, it is tried again
      if (signal.aborted) return;
    }
  }

  async #writeCounts(signal: AbortSignal): Promise<void> {
    const now = this.#clock.now();
    for (const [key, series] of this.#series) {
      const over = now - series.lastAt >= this.#limits.seriesMs;
      const news = series.writtenCount > 0 && series.count > series.writtenCount;
      if (news && (over || now - series.writtenAt >= this.#limits.countMs)) {
        const { count, lastAt } = series;
        const patch = { series: { count, lastObservedTime: microTime(lastAt) } };
        const written = await this.#try(signal, (within) =>
          this.#store.patch(events, series.name, patch, { fieldManager: this.#reporter.controller.replaceAll('/', '-'), signal: within }),
        );
        if (signal.aborted) return;
        series.writtenAt = now;
        if (written) series.writtenCount = count;
      }
      if (over) this.#series.delete(key);
    }
  }

  async #try(signal: AbortSignal, call: (signal: AbortSignal) => Promise<unknown>): Promise<boolean> {
    try {
      await withDeadline({ ms: CALL_MS, what: 'write an Event', clock: this.#clock, signal }, call);
      return true;
    } catch (thrown) {
      // What it tells of is in conditions, metrics and logs too: nobody's work may fail for it.
      this.#metrics?.droppedEvents.inc({ cause: 'error' });
      if (!signal.aborted) this.#log.info({ err: toError(thrown) }, 'event not written');
      return false;
    }
  }

  #mayWrite(bucketKey: string, now: number): boolean {
    const { burst, refillMs } = this.#limits;
    const known = this.#buckets.get(bucketKey) ?? { tokens: burst, at: now };
    const tokens = Math.min(burst, known.tokens + Math.max(0, now - known.at) / refillMs);
    this.#remember(this.#buckets, bucketKey, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    return tokens >= 1;
  }

  /** Objects come and go: what is remembered of them must not grow with all that ever were. */
  #remember<V>(map: Map<string, V>, key: string, value: V): void {
    map.delete(key);
    map.set(key, value);
    for (const oldest of map.keys()) {
      if (map.size <= REMEMBERED) return;
      map.delete(oldest);
    }
  }
}

function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
