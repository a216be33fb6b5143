/** Test only: delivery's Inbox as a gRPC server on loopback that remembers what it was told and fails when it is told to. */

import { inbox } from '@dovecote/proto';
import { Server, status } from '@grpc/grpc-js';
import { authenticate, CHANNEL_OPTIONS, closeServer, handleUnary, listen, StatusError } from '../../lib/grpc.ts';
import type { TokenReviewer } from '../../lib/identity.ts';

/** The session that asks, and what it asks, whatever the seq. */
export const ASKING = 'helper-abcdefghij';
export const QUESTION = {
  questionId: 'q',
  title: 'Deploy?',
  text: 'To production.',
  options: [
    { label: 'Yes', value: 'y' },
    { label: 'Not now', value: 'n' },
  ],
  expiresAt: 0,
};

export interface Staged {
  readonly info: inbox.StagedAttachmentInfo;
  readonly bytes: number;
  readonly largestChunk: number;
}

export class ScriptedInbox {
  /** Stored events, in order; a repeated one is answered as duplicate and not here again. */
  readonly enqueued: inbox.EnqueueRequest[] = [];
  readonly amended: inbox.AmendRequest[] = [];
  /** Presses on buttons that were offered, in order. Those of `ASKING` are stored once each. */
  readonly answers: inbox.AnswerRequest[] = [];
  readonly drops: inbox.RecordDropRequest[] = [];
  readonly staged: Staged[] = [];
  duplicates = 0;
  /** Calls of any kind. */
  calls = 0;
  /** What the next calls answer instead; taken from the front. */
  readonly failures: StatusError[] = [];
  /** Holds every Enqueue until it resolves. */
  gate: Promise<void> = Promise.resolve();
  /** How many Enqueue calls stand at the gate. */
  waiting = 0;
  /** Nothing of an attachment is read before it resolves. */
  stageGate: Promise<void> = Promise.resolve();
  address = '';
  readonly #seen = new Map<string, number>();
  readonly #chosen = new Map<number, { readonly eventId: string; readonly label: string; readonly answeredBy: string }>();
  #server: Server | undefined;

  static async start(reviewer: TokenReviewer, address = '127.0.0.1:0'): Promise<ScriptedInbox> {
    const scripted = new ScriptedInbox();
    await scripted.listen(reviewer, address);
    return scripted;
  }

  async listen(reviewer: TokenReviewer, address: string): Promise<void> {
    const onInternal = (error: Error): void => {
      throw error;
    };
    const server = new Server({
      ...CHANNEL_OPTIONS,
      interceptors: [authenticate(reviewer, 'dovecote-delivery', (caller) => caller.type === 'role' && caller.role === 'gateway')],
    });
    const handlers: inbox.InboxServer = {
      enqueue: handleUnary((request) => this.#enqueue(request), onInternal),
      amend: handleUnary(async (request) => {
        this.#fail();
        this.amended.push(request);
        return { outcome: inbox.AmendOutcome.UPDATED };
      }, onInternal),
      answer: handleUnary(async (request) => {
        this.#fail();
        this.answers.push(request);
        return this.#answer(request);
      }, onInternal),
      recordDrop: handleUnary(async (request) => {
        this.#fail();
        this.drops.push(request);
        return {};
      }, onInternal),
      stageAttachment: (call, callback) => {
        this.#stage(call).then(
          (response) => callback(null, response),
          (thrown: unknown) => callback(thrown instanceof StatusError ? thrown : { code: status.CANCELLED, message: 'cancelled' }),
        );
      },
    };
    server.addService(inbox.InboxService, handlers);
    this.#server = server;
    this.address = await listen(server, address);
  }

  async close(): Promise<void> {
    if (this.#server !== undefined) await closeServer(this.#server, 0);
  }

  texts(): string[] {
    return this.enqueued.map(({ event }) => event?.text ?? '');
  }

  async #stage(call: AsyncIterable<inbox.StageAttachmentRequest>): Promise<inbox.StageAttachmentResponse> {
    await this.stageGate;
    let info: inbox.StagedAttachmentInfo | undefined;
    let bytes = 0;
    let largestChunk = 0;
    for await (const { part } of call) {
      if (part?.$case === 'info') info = part.value;
      else if (part?.$case === 'chunk') {
        bytes += part.value.byteLength;
        largestChunk = Math.max(largestChunk, part.value.byteLength);
      }
    }
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    if (info === undefined) throw new StatusError(status.INVALID_ARGUMENT, 'no info');
    this.staged.push({ info, bytes, largestChunk });
    return { stagedId: `staged-${this.staged.length}`, sizeBytes: bytes, sha256: '' };
  }

  async #enqueue(request: inbox.EnqueueRequest): Promise<inbox.EnqueueResponse> {
    this.waiting += 1;
    await this.gate;
    this.waiting -= 1;
    this.#fail();
    const key = `${request.agentGroup} ${request.event?.eventId}`;
    const known = this.#seen.get(key);
    if (known !== undefined) {
      this.duplicates += 1;
      return { outcome: inbox.EnqueueOutcome.DUPLICATE, session: 'session', seq: known };
    }
    this.enqueued.push(request);
    const seq = this.enqueued.length * 2;
    this.#seen.set(key, seq);
    return { outcome: inbox.EnqueueOutcome.STORED, session: 'session', seq };
  }

  #answer({ session, questionSeq, option, event }: inbox.AnswerRequest): inbox.AnswerResponse {
    const { title, text, options } = QUESTION;
    if (session !== ASKING || options[option] === undefined)
      return { outcome: inbox.AnswerOutcome.UNKNOWN, label: '', answeredBy: '', title: '', text: '' };
    const known = this.#chosen.get(questionSeq);
    const holds = known ?? { eventId: event?.eventId ?? '', label: options[option].label, answeredBy: event?.senderName ?? '' };
    this.#chosen.set(questionSeq, holds);
    const { STORED, DUPLICATE, ALREADY_ANSWERED } = inbox.AnswerOutcome;
    const outcome = known === undefined ? STORED : known.eventId === event?.eventId ? DUPLICATE : ALREADY_ANSWERED;
    return { outcome, label: holds.label, answeredBy: holds.answeredBy, title, text };
  }

  #fail(): void {
    this.calls += 1;
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
  }
}
