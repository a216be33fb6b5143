import type { inbox } from '@dovecote/proto';
import { bearer, fromGrpc, unary } from '../../lib/grpc.ts';
import type { TokenSource } from '../../lib/identity.ts';
import type { ShardClients } from '../../lib/shard-clients.ts';
import type { GatewayMetrics } from '../metrics.ts';

/** A durable commit takes milliseconds; a shard that needs longer than this is not well, and the platform may try again. */
const CALL_MS = 10_000;

/**
 * Delivery's inbox, by shard. Every method resolves only when delivery says that it is durable, and rejects in our vocabulary:
 * WaitingError (try again), TerminalError (reason is the gRPC status: never), Error (a bug over there).
 */
export class ShardInbox {
  readonly #clients: ShardClients<inbox.InboxClient>;
  readonly #tokens: TokenSource;
  readonly #metrics: GatewayMetrics;

  constructor(deps: { readonly clients: ShardClients<inbox.InboxClient>; readonly tokens: TokenSource; readonly metrics: GatewayMetrics }) {
    this.#clients = deps.clients;
    this.#tokens = deps.tokens;
    this.#metrics = deps.metrics;
  }

  /** `sent` is called when the request is on the connection: what is sent after it arrives after it. */
  enqueue(shard: string, request: inbox.EnqueueRequest, signal: AbortSignal, sent: () => void = () => {}): Promise<inbox.EnqueueResponse> {
    const client = this.#clients.client(shard);
    const action = `enqueue event ${request.event?.eventId ?? ''} for ${request.agentGroup} on shard ${shard}`;
    return this.#call('Enqueue', action, async () => {
      const metadata = await this.#metadata();
      const answer = unary(client, client.enqueue, request, { metadata, deadlineMs: CALL_MS, signal });
      sent();
      return answer;
    });
  }

  amend(shard: string, request: inbox.AmendRequest, signal: AbortSignal): Promise<inbox.AmendResponse> {
    const client = this.#clients.client(shard);
    const action = `amend message ${request.platformMessageId} for ${request.agentGroup} on shard ${shard}`;
    return this.#call('Amend', action, async () =>
      unary(client, client.amend, request, { metadata: await this.#metadata(), deadlineMs: CALL_MS, signal }),
    );
  }

  answer(shard: string, request: inbox.AnswerRequest, signal: AbortSignal): Promise<inbox.AnswerResponse> {
    const client = this.#clients.client(shard);
    const action = `store the answer to question ${request.session}/${request.questionSeq} on shard ${shard}`;
    return this.#call('Answer', action, async () =>
      unary(client, client.answer, request, { metadata: await this.#metadata(), deadlineMs: CALL_MS, signal }),
    );
  }

  recordDrop(shard: string, request: inbox.RecordDropRequest, signal: AbortSignal): Promise<inbox.RecordDropResponse> {
    const client = this.#clients.client(shard);
    const action = `record the drop of event ${request.eventId} on shard ${shard}`;
    return this.#call('RecordDrop', action, async () =>
      unary(client, client.recordDrop, request, { metadata: await this.#metadata(), deadlineMs: CALL_MS, signal }),
    );
  }

  /** The raw connection, for what streams. */
  async stageCall(shard: string): Promise<{ readonly client: inbox.InboxClient; readonly metadata: Awaited<ReturnType<typeof bearer>> }> {
    return { client: this.#clients.client(shard), metadata: await this.#metadata() };
  }

  #metadata(): ReturnType<typeof bearer> {
    return bearer(this.#tokens, 'dovecote-delivery');
  }

  async #call<T>(name: string, action: string, call: () => Promise<T>): Promise<T> {
    const stop = this.#metrics.inboxSeconds.startTimer({ call: name });
    try {
      return await call();
    } catch (thrown) {
      throw fromGrpc(action, thrown);
    } finally {
      stop();
    }
  }
}
