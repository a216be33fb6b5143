/**
 * Hop 4 of a message: from the gateway's call to a durable row. Before: gateway/routing chose agent and scope. After: wake rings the
 * runner or asks for its Pod. Nothing here waits for anything but the disk.
 */
import { inbox, isDiskFull } from '@dovecote/proto';
import type { Counter } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import type { CellRows } from '../cells/create.ts';
import type { VolumeSpace } from '../shard/space.ts';
import { type Appended, appendBatch } from './append.ts';
import { dropStaged } from './claim-attachments.ts';
import type { Drops } from './drops.ts';
import { type CommitLine, GroupCommit } from './group-commit.ts';
import { type NewMessage, parseEnqueue } from './new-message.ts';
import { agentOnShard, type Place, type ResolveDeps, resolveSession } from './resolve-session.ts';

export interface AppendedRow {
  readonly seq: number;
  readonly trigger: boolean;
  readonly message: NewMessage;
}

export interface InboxDeps extends ResolveDeps {
  readonly line: CommitLine;
  readonly staging: string;
  readonly space: Pick<VolumeSpace, 'full' | 'noteFull'>;
  readonly drops: Drops;
  readonly clock: Clock;
  readonly log: Log;
  readonly reached: Reached;
  readonly events: Pick<Counter<'outcome'>, 'inc'>;
  /** bytes; of one attachment on that Channel */
  readonly maxAttachmentBytes: (channel: string | null) => number;
  readonly maxMessageAttachmentBytes: number;
  /** A row was changed in place. Must not throw. */
  readonly onAmended: (session: string, seq: number) => void;
  /** Rings the session's runner. False: none listens. Must not throw. */
  readonly ring: (session: string) => boolean;
  /** After the answer: wake (its runner was rung when `rang`), notify. Must not throw. */
  readonly onAppended: (session: string, rows: readonly AppendedRow[], rang: boolean) => void;
}

type Outcomes = ReturnType<typeof appendBatch>;

const NOT_ENGAGED: Outcomes[number] = { value: { outcome: 'not-engaged' } };
const FULL = 'the volume is full; the event was not stored, send it again later';

export class Inbox {
  readonly #deps: InboxDeps;
  readonly #batches = new Map<string, GroupCommit<NewMessage, Appended>>();

  constructor(deps: InboxDeps) {
    this.#deps = deps;
  }

  /** Stores one event and answers once it is durable. Errors as in inbox.proto. */
  async enqueue(request: inbox.EnqueueRequest): Promise<inbox.EnqueueResponse> {
    const deps = this.#deps;
    const message = parseEnqueue(request);
    const agent = await agentOnShard(deps, request.agentGroup);
    if (deps.space.full) throw new StatusError(status.RESOURCE_EXHAUSTED, FULL);
    const place = resolveSession(deps, agent, request.scope);
    const { session } = place;
    const appended = await this.#append(place, message);
    deps.events.inc({ outcome: appended.outcome });
    switch (appended.outcome) {
      case 'stored':
        return { outcome: inbox.EnqueueOutcome.STORED, session, seq: appended.seq };
      case 'duplicate':
        return { outcome: inbox.EnqueueOutcome.DUPLICATE, session, seq: appended.seq };
      case 'not-engaged': {
        const { event } = request;
        await deps.drops.record(
          {
            eventId: message.eventId,
            channel: message.channel ?? '',
            chat: message.chat ?? '',
            sender: message.sender ?? '',
            senderName: message.senderName ?? '',
            agentGroup: request.agentGroup,
            reason: 'NotEngaged',
            detail: 'nobody mentioned the agent in this chat and thread before',
            receivedAtMs: event?.receivedAtMs ?? 0,
          },
          deps.clock.now(),
        );
        return { outcome: inbox.EnqueueOutcome.NOT_ENGAGED, session, seq: 0 };
      }
      case 'no-choice':
        throw new Error(`cannot store event ${message.eventId}: only Answer has buttons`);
    }
  }

  /** Adds a row to a session that exists. Resolves when it is durable. Throws StatusError RESOURCE_EXHAUSTED for a full volume. */
  append(session: string, message: NewMessage): Promise<Appended> {
    return this.#append({ session }, message);
  }

  async #append(place: Place, message: NewMessage): Promise<Appended> {
    const { session } = place;
    let batch = this.#batches.get(session);
    if (batch === undefined) {
      batch = new GroupCommit(this.#deps.line, (messages) => this.#commit(place, messages));
      this.#batches.set(session, batch);
    }
    return batch.add(message);
  }

  #commit({ session, begin }: Place, messages: readonly NewMessage[]) {
    const deps = this.#deps;
    this.#batches.delete(session); // the next turn's first message begins anew; else idle sessions would pile up here
    const outcomes = this.#orFull(() => {
      const append = (cell: CellRows): Outcomes =>
        appendBatch(cell, messages, {
          staging: deps.staging,
          now: deps.clock.now(),
          limits: ({ channel }) => ({ maxBytes: deps.maxAttachmentBytes(channel), maxMessageBytes: deps.maxMessageAttachmentBytes }),
          beforeCommit: () => deps.reached('delivery/before-commit'),
        });
      // Made by an earlier batch, if several messages found no cell before the first of them was stored.
      if (begin === undefined || deps.cells.has(session)) return append(deps.cells.open(session));
      // Nobody was ever called there. Else each thread of a busy workspace would become a cell and a Session that nobody wrote to.
      if (messages.every(({ unlessEngaged }) => unlessEngaged === 'drop')) return messages.map(() => NOT_ENGAGED);
      return this.#begin(begin, append);
    });
    deps.reached('delivery/after-commit-before-answer');
    // Before the answers: the runner reads while they are written.
    const rang = outcomes.some((outcome) => 'value' in outcome && outcome.value.outcome === 'stored' && outcome.value.trigger)
      ? deps.ring(session)
      : false;
    // The next turn: by then the answers of this one are on their way.
    setImmediate(() => this.#afterAnswer(session, messages, outcomes, rang));
    return outcomes;
  }

  /** A new session and its first messages are one file: a sync each would make the first message of a chat the slowest. */
  #begin({ cell, agent }: NonNullable<Place['begin']>, append: (cell: CellRows) => Outcomes): Outcomes {
    const deps = this.#deps;
    let outcomes: Outcomes = [];
    const { meta } = deps.cells.create(cell, (rows) => {
      deps.fill(rows, agent);
      outcomes = append(rows);
    });
    deps.index.add(meta);
    return outcomes;
  }

  #afterAnswer(session: string, messages: readonly NewMessage[], outcomes: Outcomes, rang: boolean): void {
    this.#deps.reached('delivery/after-answer-before-wake');
    const rows: AppendedRow[] = [];
    messages.forEach((message, i) => {
      const outcome = outcomes[i];
      if (outcome === undefined || !('value' in outcome)) return;
      if (message.attachments.length > 0) dropStaged(this.#deps.staging, message.attachments);
      if (outcome.value.outcome === 'stored') rows.push({ seq: outcome.value.seq, trigger: outcome.value.trigger, message });
    });
    if (rows.length > 0) this.#deps.onAppended(session, rows, rang);
  }

  /** A full volume is an answer, not a fault: the platform sends the event again. */
  classify(thrown: unknown): unknown {
    if (!isDiskFull(thrown)) return thrown;
    this.#deps.space.noteFull();
    return new StatusError(status.RESOURCE_EXHAUSTED, FULL, { cause: thrown });
  }

  #orFull<T>(work: () => T): T {
    try {
      return work();
    } catch (e) {
      throw this.classify(e);
    }
  }
}
