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
import type { VolumeSpace } from '../shard/space.ts';
import { type Appended, appendBatch } from './append.ts';
import { dropStaged } from './claim-attachments.ts';
import type { Drops } from './drops.ts';
import { type CommitLine, GroupCommit } from './group-commit.ts';
import { type NewMessage, parseEnqueue } from './new-message.ts';
import { agentOnShard, type ResolveDeps, resolveSession } from './resolve-session.ts';

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
  /** After the answer: ring, wake, notify. Must not throw. */
  readonly onAppended: (session: string, rows: readonly AppendedRow[]) => void;
}

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
    const session = this.#orFull(() => resolveSession(deps, agent, request.scope));
    const appended = await this.append(session, message);
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
    }
  }

  /** Adds a row to a session that exists. Resolves when it is durable. Throws StatusError RESOURCE_EXHAUSTED for a full volume. */
  async append(session: string, message: NewMessage): Promise<Appended> {
    let batch = this.#batches.get(session);
    if (batch === undefined) {
      batch = new GroupCommit(this.#deps.line, (messages) => this.#commit(session, messages));
      this.#batches.set(session, batch);
    }
    return batch.add(message);
  }

  #commit(session: string, messages: readonly NewMessage[]) {
    const deps = this.#deps;
    this.#batches.delete(session); // the next turn's first message begins anew; else idle sessions would pile up here
    const outcomes = this.#orFull(() =>
      appendBatch(deps.cells.open(session), messages, {
        staging: deps.staging,
        now: deps.clock.now(),
        limits: ({ channel }) => ({ maxBytes: deps.maxAttachmentBytes(channel), maxMessageBytes: deps.maxMessageAttachmentBytes }),
        beforeCommit: () => deps.reached('delivery/before-commit'),
      }),
    );
    deps.reached('delivery/after-commit-before-answer');
    // The next turn: by then the answers of this one are on their way.
    setImmediate(() => this.#afterAnswer(session, messages, outcomes));
    return outcomes;
  }

  #afterAnswer(session: string, messages: readonly NewMessage[], outcomes: ReturnType<typeof appendBatch>): void {
    this.#deps.reached('delivery/after-answer-before-wake');
    const rows: AppendedRow[] = [];
    messages.forEach((message, i) => {
      const outcome = outcomes[i];
      if (outcome === undefined || !('value' in outcome)) return;
      if (message.attachments.length > 0) dropStaged(this.#deps.staging, message.attachments);
      if (outcome.value.outcome === 'stored') rows.push({ seq: outcome.value.seq, trigger: outcome.value.trigger, message });
    });
    if (rows.length > 0) this.#deps.onAppended(session, rows);
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
