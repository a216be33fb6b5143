/**
 * Hops 3 and 4 in one place: an event from a platform is routed, and every decision about it is made durable in delivery. Only
 * then `receive` resolves, and only then may anyone acknowledge the platform.
 */
import { createHash } from 'node:crypto';
import { type AgentGroup, byteCount, type Channel } from '@dovecote/crds';
import { inbox } from '@dovecote/proto';
import { LRUCache } from 'lru-cache';
import { backoffMs } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import type { Reached } from '../lib/crash-point.ts';
import { abandonAfter } from '../lib/deadline.ts';
import { TerminalError, toError, WaitingError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { shardOf } from '../lib/rendezvous.ts';
import { chatScope } from '../lib/scope.ts';
import { answerOnShards, answerRequest, unknownQuestion } from './answers/offer.ts';
import type { IncomingAnswer, IncomingAttachment, IncomingEvent, IncomingMessage, StagedFor } from './channels/channel.ts';
import { ChatOrder, type Place } from './chat-order.ts';
import type { ShardInbox } from './inbox-client/inbox-client.ts';
import { copiesOf, takeAttachments } from './inbox-client/message-attachments.ts';
import { AttachmentError, stageAttachment } from './inbox-client/stage-attachment.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { GatewayObjects } from './objects.ts';
import type { Amend, Decision, Deliver, Drop } from './routing/decision.ts';
import { DropReason } from './routing/drop-reason.ts';
import { mayAnswer } from './routing/may-answer.ts';
import { route } from './routing/route.ts';

export interface IntakeLimits {
  /** Events worked on at once, over all chats. */
  readonly concurrent: number;
  /** Events that wait for their turn; one more is refused, and the platform sends it again. */
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

/** A shard that restarts is back in seconds: worth waiting for, as a platform comes again in a minute. */
const RETRY = { baseMs: 100, maxMs: 2_000 };
/** What is known to be durable, so that a platform that repeats itself is answered without fetching attachments again. A cache: delivery knows it all. */
const STORED = { max: 20_000, ttl: 15 * 60_000 };

export class Intake {
  readonly #deps: IntakeDeps;
  readonly #order = new ChatOrder();
  readonly #stored: LRUCache<string, Receipt>;
  readonly #stop = new AbortController();
  #active = 0;
  readonly #turns: (() => void)[] = [];

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
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
      [...byChat].map(([chat, ofChat]) => {
        if (this.#turns.length >= this.#deps.limits.waiting) {
          return Promise.reject(new WaitingError('Busy', 'cannot take the event: too many others wait', 1_000));
        }
        return this.#order.run(`${channel.metadata.name}\0${chat}`, async (place) => {
          const receipts: Receipt[] = [];
          // The events of one call wait for each other; behind the last one the next call's may begin.
          for (const [n, event] of ofChat.entries())
            receipts.push(await this.#one(channel, event, n === ofChat.length - 1 ? place : { ...place, goOn: () => {} }));
          return receipts;
        });
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
    const { clock, limits, objects } = this.#deps;
    return abandonAfter(
      { ms: limits.attachmentsMs, what: `take "${attachment.name}"`, clock, signal: this.#stop.signal },
      async (signal) => {
        await this.#retrying(async () => this.#mustBeSynced(), signal);
        const { name } = channel.metadata;
        const decisions = route(name, event, objects.chats().match(name, event.chat, event.chatClass));
        const maxBytes = Math.min(byteCount(channel.spec.maxAttachmentBytes), limits.messageBytes);
        const deliver = decisions.filter((decision) => decision.type === 'deliver');
        const copies = copiesOf(attachment, deliver.length);
        return Promise.all(
          deliver.map(async ({ agentGroup, scope }, n) => {
            const agent = objects.agentGroup(agentGroup);
            if (agent === undefined) throw new AttachmentError(false, `"${attachment.name}" was not taken: its agent does not exist`);
            const shard = shardFor(agent, scope);
            const { stagedId } = await stageAttachment(this.#deps.inbox, shard, agentGroup, copies[n] ?? attachment, maxBytes, signal);
            return { agentGroup, shard, stagedId };
          }),
        );
      },
    );
  }

  /** Ends what waits for a shard or a download; resolves when nothing is in hand. */
  async close(): Promise<void> {
    this.#stop.abort(new WaitingError('Closing', 'cannot take the event: this gateway shuts down', 1_000));
    await this.#order.idle();
  }

  async #one(channel: Channel, event: IncomingEvent, place: Place): Promise<Receipt> {
    const known = this.#stored.get(event.eventId);
    if (known !== undefined) return known;
    const release = await this.#turn();
    try {
      this.#stop.signal.throwIfAborted();
      const hasFiles = event.type === 'message' && event.attachments.length > 0;
      const ms = this.#deps.limits.eventMs + (hasFiles ? this.#deps.limits.attachmentsMs : 0);
      const stored = await abandonAfter(
        { ms, what: `store event ${event.eventId}`, clock: this.#deps.clock, signal: this.#stop.signal },
        (signal) => this.#store(channel, event, place, signal),
      );
      const receipt: Receipt = { eventId: event.eventId, ...stored };
      this.#stored.set(event.eventId, receipt);
      if (event.type === 'answer') this.#deps.onAnswer(channel, event, receipt);
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

  async #store(channel: Channel, event: IncomingEvent, place: Place, signal: AbortSignal): Promise<Omit<Receipt, 'eventId'>> {
    const { name } = channel.metadata;
    // Half-filled caches would call a wired chat unwired, and the event would be dropped for good.
    await this.#retrying(async () => this.#mustBeSynced(), signal);
    const group = this.#deps.objects.chats().match(name, event.chat, event.chatClass);
    this.#deps.reached('gateway/before-enqueue');
    if (event.type === 'answer') return this.#answer(channel, event, mayAnswer(name, event, group), signal);
    const decisions = route(name, event, group);
    // Begun in order of priority; none waits for another, so that a shard that is down does not keep an event from the others.
    let toSend = decisions.length;
    const sent = (): void => {
      toSend -= 1;
      if (toSend === 0) place.goOn();
    };
    const results = await Promise.allSettled(
      decisions.map((decision) => this.#apply(channel, event, decision, { sent, before: place.before }, signal)),
    );
    const drops = results.flatMap((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value ?? [];
    });
    return { drops };
  }

  /** Offers a press to the session that it names. Nobody hears of one that is not let in, or that points to nothing. */
  async #answer(
    channel: Channel,
    event: IncomingAnswer,
    refused: Drop | undefined,
    signal: AbortSignal,
  ): Promise<Omit<Receipt, 'eventId'>> {
    const outcome = refused ?? (await this.#offer(channel, event, signal));
    const drop = 'reason' in outcome ? outcome : undefined;
    if (drop !== undefined) await this.#retrying(() => this.#recordDrop(channel, event, drop, signal), signal);
    const decision = drop === undefined ? 'answer' : 'drop';
    this.#deps.metrics.decisions.inc({ channel: channel.metadata.name, decision, reason: drop?.reason ?? '' });
    return 'reason' in outcome ? { drops: [outcome] } : { drops: [], answered: outcome };
  }

  async #offer(channel: Channel, event: IncomingAnswer, signal: AbortSignal): Promise<inbox.AnswerResponse | Drop> {
    const { objects, inbox: shardInbox, clock } = this.#deps;
    const request = answerRequest(channel, event, clock.now());
    try {
      const offer = () => answerOnShards(shardInbox, objects.shardsOfSession(event.session), request, signal);
      return (await this.#retrying(offer, signal)) ?? unknownQuestion(event);
    } catch (thrown) {
      if (!refusedForGood(thrown)) throw thrown;
      return { type: 'drop', agentGroup: '', reason: DropReason.InboxRefused, detail: thrown.message };
    }
  }

  #mustBeSynced(): void {
    if (!this.#deps.objects.synced)
      throw new WaitingError('NotSynced', 'cannot route the event: the wirings have not been read yet', 1_000);
  }

  /** Makes one decision durable. What it answers is why nobody hears of the event after all. */
  async #apply(
    channel: Channel,
    event: IncomingEvent,
    decision: Decision,
    sending: Sending,
    signal: AbortSignal,
  ): Promise<Drop | undefined> {
    const drop = decision.type === 'drop' ? decision : await this.#hand(channel, event, decision, sending, signal);
    if (drop !== undefined) await this.#retrying(() => this.#recordDrop(channel, event, drop, signal), signal);
    const reason = drop?.reason ?? (decision.type === 'deliver' ? decision.reason : '');
    this.#deps.metrics.decisions.inc({ channel: channel.metadata.name, decision: drop === undefined ? decision.type : 'drop', reason });
    return drop;
  }

  async #hand(
    channel: Channel,
    event: IncomingEvent,
    decision: Deliver | Amend,
    sending: Sending,
    signal: AbortSignal,
  ): Promise<Drop | undefined> {
    const { agentGroup } = decision;
    const agent = this.#deps.objects.agentGroup(agentGroup);
    if (agent === undefined) {
      const detail = `the AgentGroup ${agentGroup}, which the MessagingGroup of this chat names, does not exist`;
      return { type: 'drop', agentGroup, reason: DropReason.AgentMissing, detail };
    }
    try {
      if (decision.type === 'amend') await this.#retrying(() => this.#amend(channel, event, decision, agent, signal), signal);
      else if (event.type === 'message') await this.#deliver(channel, event, decision, agent, sending, signal);
      return undefined;
    } catch (thrown) {
      if (!refusedForGood(thrown)) throw thrown;
      return { type: 'drop', agentGroup, reason: DropReason.InboxRefused, detail: thrown.message };
    }
  }

  async #deliver(
    channel: Channel,
    event: IncomingMessage,
    decision: Deliver,
    agent: AgentGroup,
    { sent, before }: Sending,
    signal: AbortSignal,
  ): Promise<void> {
    // An agent that is quite new has its shard in a moment.
    const shard = await this.#retrying(
      async () => shardFor(this.#deps.objects.agentGroup(decision.agentGroup) ?? agent, decision.scope),
      signal,
    );
    const { attachments, errors } = await takeAttachments(
      { channel, event, agentGroup: decision.agentGroup, shard },
      { ...this.#deps, messageBytes: this.#deps.limits.messageBytes, retrying: (work) => this.#retrying(work, signal) },
      signal,
    );
    const request: inbox.EnqueueRequest = {
      agentGroup: decision.agentGroup,
      scope: decision.scope,
      trigger: decision.trigger,
      onlyIfEngaged: decision.ifNotEngaged !== undefined,
      ifNotEngaged: decision.ifNotEngaged === 'accumulate' ? inbox.IfNotEngaged.ACCUMULATE : inbox.IfNotEngaged.DROP,
      reason: decision.reason,
      event: {
        eventId: event.eventId,
        kind: inbox.InboundKind.CHAT,
        lane: decision.command === undefined ? inbox.Lane.CHAT : inbox.Lane.CONTROL,
        channel: channel.metadata.name,
        chat: event.chat,
        thread: decision.thread,
        sender: event.sender,
        senderName: event.senderName,
        platformMessageId: event.platformMessageId,
        text: decision.command ?? event.text,
        attachments: [...attachments],
        attachmentErrors: [...errors],
        quoted: event.quoted,
        receivedAtMs: this.#deps.clock.now(),
        traceparent: traceparentOf(event.eventId),
      },
    };
    let first = true;
    const enqueue = async (): Promise<unknown> => {
      if (first) {
        first = false;
        return this.#deps.inbox.enqueue(shard, request, signal, sent);
      }
      await before; // or it would overtake those before it that are sent again as well
      return this.#deps.inbox.enqueue(shard, request, signal);
    };
    await this.#retrying(enqueue, signal);
  }

  async #amend(channel: Channel, event: IncomingEvent, decision: Amend, agent: AgentGroup, signal: AbortSignal): Promise<void> {
    const request: inbox.AmendRequest = {
      agentGroup: decision.agentGroup,
      scope: decision.scope,
      eventId: event.eventId,
      channel: channel.metadata.name,
      chat: event.chat,
      platformMessageId: event.platformMessageId,
      change: event.type === 'edited' ? { $case: 'newText', value: event.text } : { $case: 'deleted', value: true },
      senderName: event.senderName,
      receivedAtMs: this.#deps.clock.now(),
    };
    await this.#deps.inbox.amend(shardFor(agent, decision.scope), request, signal);
  }

  async #recordDrop(channel: Channel, event: IncomingEvent, drop: Drop, signal: AbortSignal): Promise<void> {
    const { name } = channel.metadata;
    // Any shard would do; the chat's own home spreads the load and keeps what is counted per chat together.
    const shard = shardOf(this.#deps.objects.shards(), '', chatScope(name, event.chat)) ?? '0';
    await this.#deps.inbox.recordDrop(
      shard,
      {
        eventId: event.eventId,
        channel: name,
        chat: event.chat,
        sender: event.sender,
        senderName: event.senderName,
        agentGroup: drop.agentGroup,
        reason: drop.reason,
        detail: drop.detail,
        receivedAtMs: this.#deps.clock.now(),
      },
      signal,
    );
  }

  async #retrying<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (thrown) {
        if (!mayPass(thrown) || signal.aborted) throw thrown;
        await this.#deps.clock.sleep(backoffMs(attempt, RETRY, this.#deps.random), signal);
      }
    }
  }

  async #turn(): Promise<() => void> {
    if (this.#active >= this.#deps.limits.concurrent) await new Promise<void>((resolve) => this.#turns.push(resolve));
    else this.#active += 1;
    return () => {
      const next = this.#turns.shift();
      if (next === undefined) this.#active -= 1;
      else next(); // the place is handed on, so nobody can slip in between
    };
  }
}

/** How the request of one decision stands among those before and behind it in its chat. */
interface Sending {
  /** It has been handed to the connection. */
  readonly sent: () => void;
  readonly before: Promise<void>;
}

/** What became of one event. */
export interface Receipt {
  readonly eventId: string;
  /** Agents that do not hear of it, and why; `agentGroup` is empty when nobody does. */
  readonly drops: readonly Drop[];
  /** Of a press on a button that counted, or came too late. */
  readonly answered?: inbox.AnswerResponse;
}

export interface IntakeDeps {
  /** A press has been dealt with, durably. Must not throw. */
  readonly onAnswer: (channel: Channel, event: IncomingAnswer, receipt: Receipt) => void;
  readonly objects: GatewayObjects;
  readonly inbox: ShardInbox;
  readonly limits: IntakeLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: GatewayMetrics;
  readonly reached: Reached;
}

function shardFor(agent: AgentGroup, scope: string): string {
  const shard = shardOf(agent.status?.shards ?? [], agent.metadata.uid, scope);
  if (shard === undefined)
    throw new WaitingError('NoShard', `cannot store the event: AgentGroup ${agent.metadata.name} has no shard yet`, 1_000);
  return shard;
}

/** Delivery read the request and says that this event has no place there, now or later. */
function refusedForGood(thrown: unknown): thrown is TerminalError {
  return thrown instanceof TerminalError && (thrown.reason === 'FAILED_PRECONDITION' || thrown.reason === 'INVALID_ARGUMENT');
}

/** A shard that restarts, or whose cache has not heard of an AgentGroup that we know. A full volume will not be empty in seconds. */
function mayPass(thrown: unknown): boolean {
  if (thrown instanceof WaitingError) return thrown.reason !== 'RESOURCE_EXHAUSTED' && thrown.reason !== 'Closing';
  return thrown instanceof TerminalError && thrown.reason === 'NOT_FOUND';
}

/** The same trace for the same event, whichever replica gets whichever repetition of it. W3C trace context, sampled. */
function traceparentOf(eventId: string): string {
  const hash = createHash('sha256').update(eventId).digest('hex');
  return `00-${hash.slice(0, 32)}-${hash.slice(32, 48)}-01`;
}
