/** Test only: delivery's Inbox as a gRPC server on loopback that remembers what it was told and fails when it is told to. */
import { Server, status } from '@grpc/grpc-js';
import { inbox } from '@dovecote/proto';
import { authenticate, CHANNEL_OPTIONS, closeServer, handleUnary, listen, StatusError } from '../../lib/grpc.ts';
import type { TokenReviewer } from '../../lib/identity.ts';

export interface Staged {
  readonly info: inbox.StagedAttachmentInfo;
  readonly bytes: number;
  readonly largestChunk: number;
}

export class ScriptedInbox {
  /** Stored events, in order; a repeated one is answered as duplicate and not here again. */
  readonly enqueued: inbox.EnqueueRequest[] = [];
  readonly amended: inbox.AmendRequest[] = [];
  readonly drops: inbox.RecordDropRequest[] = [];
  readonly staged: Staged[] = [];
  duplicates = 0;
  /** Calls of any kind. */
  calls = 0;
  /** What the next calls answer instead; taken from the front. */
  readonly failures: StatusError[] = [];
  /** Holds every Enqueue until it resolves. */
  gate: Promise<void> = Promise.resolve();
  address = '';
  readonly #seen = new Map<string, number>();
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
      recordDrop: handleUnary(async (request) => {
        this.#fail();
        this.drops.push(request);
        return {};
      }, onInternal),
      stageAttachment: (call, callback) => {
        let info: inbox.StagedAttachmentInfo | undefined;
        let bytes = 0;
        let largestChunk = 0;
        call.on('data', (message: inbox.StageAttachmentRequest) => {
          if (message.part?.$case === 'info') info = message.part.value;
          else if (message.part?.$case === 'chunk') {
            bytes += message.part.value.byteLength;
            largestChunk = Math.max(largestChunk, message.part.value.byteLength);
          }
        });
        call.on('error', () => {}); // cancelled by the other side: nothing was staged
        call.on('end', () => {
          const failure = this.failures.shift();
          if (failure !== undefined) callback({ code: failure.code, message: failure.message });
          else if (info === undefined) callback({ code: status.INVALID_ARGUMENT, message: 'no info' });
          else {
            this.staged.push({ info, bytes, largestChunk });
            callback(null, { stagedId: `staged-${this.staged.length}`, sizeBytes: bytes, sha256: '' });
          }
        });
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

  async #enqueue(request: inbox.EnqueueRequest): Promise<inbox.EnqueueResponse> {
    await this.gate;
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

  #fail(): void {
    this.calls += 1;
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
  }
}
