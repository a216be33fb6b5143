/**
 * Hops 3 and 4 begin and end here: an event from a platform gets its turn, in the order of its chat, and is stored. Only then
 * `receive` resolves, and only then may anyone acknowledge the platform.
 */
import type { Channel } from '@dovecote/crds';
import type { inbox } from '@dovecote/proto';
import { LRUCache } from 'lru-cache';
import { abandonAfter } from '../../lib/deadline.ts';
import { toError, WaitingError } from '../../lib/errors.ts';
import type { IncomingAnswer, IncomingAttachment, IncomingEvent, IncomingMessage, StagedFor } from '../channels/channel.ts';
import { ChatOrder, type Place } from './chat-order.ts';
import { EventStore, type EventStoreDeps } from './event-store.ts';
import type { Receipt } from './receipt.ts';
import { Turns } from './turns.ts';

export interface IntakeLimits {
  /** Events of one Channel worked on at once, over all its chats. */
  readonly concurrent: number;
  /** Events of one Channel that wait for their turn or their chat's; one more is refused, and the platform sends it again. */
  readonly waiting: number;
  /** How long one event may take, downloads of its attachments apart. */
  readonly eventMs: number;
  /** How long the attachments of one event may take. */
  readonly attachmentsMs: number;
  /** All attachments of one message together. */
  readonly messageBytes: number;
}

export const INTAKE_LIMITS: IntakeLimits = {
  concurrent: 256,
  waiting: 4_000,
  eventMs: 30_000,
  attachmentsMs: 300_000,
  messageBytes: 100 * 1024 * 1024,
};

/** What is known to be durable, so that a platform that repeats itself is answered without fetching attachments again. A cache: delivery knows it all. */
const STORED = { max: 20_000, ttl: 15 * 60_000 };

export class Intake {
  readonly #deps: IntakeDeps;
  readonly #order = new ChatOrder();
  readonly #stored: LRUCache<string, Receipt>;
  readonly #stop = new AbortController();
  /** By Channel. As many as there ever were Channels: few, and small. */
  readonly #turns = new Map<string, Turns>();
  readonly #events: EventStore;

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
    this.#events = new EventStore(deps);
    this.#stored = new LRUCache({ ...STORED, perf: { now: () => deps.clock.now() } });
  }

  /**
   * Resolves when every decision on every event is durable. Rejects when one is not: WaitingError, DeadlineError or Error; the
   * platform must then send the events again, and what was stored meanwhile is found out by its event id. Events of one chat are
   * stored in the order in which they were received; one that fails holds back those behind it in the same call. Messages without
   * files do not wait for each other's answers, so that delivery can commit a burst of one chat at once: their requests are sent in
   * order over one connection, and one that must be sent again first waits for all before it.
   */
  async receive(channel: Channel, events: readonly IncomingEvent[]): Promise<readonly Receipt[]> {
    // An answer must not wait for the files of what was said before it: its agent waits for it.
    const byChat = Map.groupBy(events, (event) =>
      event.type === 'answer' ? `answer ${event.session} ${event.questionSeq}` : `chat ${event.chat}`,
    );
    const results = await Promise.allSettled(
      [...byChat].map(async ([chat, ofChat]) => {
        const letGo = this.#turnsOf(channel).hold(ofChat.length);
        const stored = this.#order.run(`${channel.metadata.name}\0${chat}`, async (place) => {
          const receipts: Receipt[] = [];
          // The events of one call wait for each other; behind the last one the next call's may begin.
          for (const [n, event] of ofChat.entries())
            receipts.push(await this.#one(channel, event, n === ofChat.length - 1 ? place : { ...place, goOn: () => {} }));
          return receipts;
        });
        return stored.finally(letGo);
      }),
    );
    return results.flatMap((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }

  /**
   * Gives a file to the shards of all agents that would get `event`, a message without it, so that the message can name it later.
   * Rejects with AttachmentError (its sentence is for the person), or as `receive` does. Agents that do not get the message get no file.
   */
  async stage(channel: Channel, event: IncomingMessage, attachment: IncomingAttachment): Promise<readonly StagedFor[]> {
    const { clock, limits } = this.#deps;
    const deadline = { ms: limits.attachmentsMs, what: `take "${attachment.name}"`, clock, signal: this.#stop.signal };
    return abandonAfter(deadline, (signal) => this.#events.stage(channel, event, attachment, signal));
  }

  /** Ends what waits for a shard or a download; resolves when nothing is in hand. */
  async close(): Promise<void> {
    this.#stop.abort(new WaitingError('Closing', 'cannot take the event: this gateway shuts down', 1_000));
    await this.#order.idle();
  }

  #turnsOf({ metadata: { name } }: Channel): Turns {
    const turns = this.#turns.get(name) ?? new Turns(this.#deps.limits);
    this.#turns.set(name, turns);
    return turns;
  }

  async #one(channel: Channel, event: IncomingEvent, place: Place): Promise<Receipt> {
    const known = this.#stored.get(event.eventId);
    if (known !== undefined) return known;
    const release = await this.#turnsOf(channel).enter();
    try {
      this.#stop.signal.throwIfAborted();
      const hasFiles = event.type === 'message' && event.attachments.length > 0;
      const ms = this.#deps.limits.eventMs + (hasFiles ? this.#deps.limits.attachmentsMs : 0);
      const stored = await abandonAfter(
        { ms, what: `store event ${event.eventId}`, clock: this.#deps.clock, signal: this.#stop.signal },
        (signal) => this.#events.store(channel, event, place, signal),
      );
      const receipt: Receipt = { eventId: event.eventId, ...stored };
      this.#stored.set(event.eventId, receipt);
      if (event.type === 'answer') this.#deps.onAnswer(channel, event, receipt.answered);
      return receipt;
    } catch (thrown) {
      const error = toError(thrown);
      this.#deps.log.warn(
        { eventId: event.eventId, channel: channel.metadata.name, err: error },
        'event could not be stored, the platform is asked to send it again',
      );
      throw error;
    } finally {
      release();
    }
  }
}

export interface IntakeDeps extends EventStoreDeps {
  readonly limits: IntakeLimits;
  /** A press has been dealt with, durably. Must not throw. */
  readonly onAnswer: (channel: Channel, event: IncomingAnswer, answered: inbox.AnswerResponse | undefined) => void;
}
