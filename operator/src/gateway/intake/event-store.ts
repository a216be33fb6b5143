/** An event is routed, and every decision about it made durable in delivery: the way from channels over routing to inbox-client. */
import { type AgentGroup, byteCount, type Channel } from '@dovecote/crds';
import type { inbox } from '@dovecote/proto';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import { WaitingError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { shardOf } from '../../lib/rendezvous.ts';
import { chatScope } from '../../lib/scope.ts';
import { answerOnShards, answerRequest, unknownQuestion } from '../answers/offer.ts';
import type { IncomingAnswer, IncomingAttachment, IncomingEvent, IncomingMessage, StagedFor } from '../channels/channel.ts';
import type { ShardInbox } from '../inbox-client/inbox-client.ts';
import { copiesOf, takeAttachments } from '../inbox-client/message-attachments.ts';
import { amendRequest, dropRequest, enqueueRequest } from '../inbox-client/requests.ts';
import { AttachmentError, stageAttachment } from '../inbox-client/stage-attachment.ts';
import { refusedForGood, tryAgain } from '../inbox-client/try-again.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { GatewayObjects } from '../objects.ts';
import type { Amend, Decision, Deliver, Drop } from '../routing/decision.ts';
import { DropReason } from '../routing/drop-reason.ts';
import { mayAnswer } from '../routing/may-answer.ts';
import { route } from '../routing/route.ts';
import type { Place } from './chat-order.ts';
import type { Receipt } from './receipt.ts';
import { SessionShards } from './session-shards.ts';

export interface EventStoreDeps {
  readonly store: Pick<ResourceStore, 'get'>;
  readonly objects: GatewayObjects;
  readonly inbox: ShardInbox;
  readonly limits: {
    /** all attachments of one message together */
    readonly messageBytes: number;
  };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: GatewayMetrics;
  readonly reached: Reached;
}

/** How the request of one decision stands among those before and behind it in its chat. */
interface Sending {
  /** It has been handed to the connection. */
  readonly sent: () => void;
  readonly before: Promise<void>;
}

export class EventStore {
  readonly #deps: EventStoreDeps;
  readonly #shards: SessionShards;

  constructor(deps: EventStoreDeps) {
    this.#deps = deps;
    this.#shards = new SessionShards(deps);
  }

  /** Resolves when every decision about the event is durable; rejects when one is not. `place`: where it stands in its chat. */
  async store(channel: Channel, event: IncomingEvent, place: Place, signal: AbortSignal): Promise<Omit<Receipt, 'eventId'>> {
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

  /** Of a message that will come: its file to the shard of each agent that would get it. Throws AttachmentError, or as `store`. */
  async stage(
    channel: Channel,
    event: IncomingMessage,
    attachment: IncomingAttachment,
    signal: AbortSignal,
  ): Promise<readonly StagedFor[]> {
    const { limits, objects, inbox: shardInbox } = this.#deps;
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
        const shard = await this.#retrying(() => this.#shards.of(agent, scope, signal), signal);
        const { stagedId } = await stageAttachment(shardInbox, shard, agentGroup, copies[n] ?? attachment, maxBytes, signal);
        return { agentGroup, shard, stagedId };
      }),
    );
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
      () => this.#shards.of(this.#deps.objects.agentGroup(decision.agentGroup) ?? agent, decision.scope, signal),
      signal,
    );
    const files = await takeAttachments(
      { channel, event, agentGroup: decision.agentGroup, shard },
      { ...this.#deps, messageBytes: this.#deps.limits.messageBytes, retrying: (work) => this.#retrying(work, signal) },
      signal,
    );
    const request = enqueueRequest(channel, event, decision, files, this.#deps.clock.now());
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
    const request = amendRequest(channel, event, decision, this.#deps.clock.now());
    await this.#deps.inbox.amend(await this.#shards.of(agent, decision.scope, signal), request, signal);
  }

  async #recordDrop(channel: Channel, event: IncomingEvent, drop: Drop, signal: AbortSignal): Promise<void> {
    const { inbox: shardInbox, objects, clock } = this.#deps;
    // Any shard would do; the chat's own home spreads the load and keeps what is counted per chat together.
    const shard = shardOf(objects.shards(), '', chatScope(channel.metadata.name, event.chat)) ?? '0';
    await shardInbox.recordDrop(shard, dropRequest(channel, event, drop, clock.now()), signal);
  }

  #retrying<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return tryAgain(this.#deps, signal, work);
  }
}
