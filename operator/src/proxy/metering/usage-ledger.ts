/** The proxy's word to delivery about usage: asked before a request, or told as it begins, and told after it. The rows are delivery's. */
import type { AgentGroup } from '@dovecote/crds';
import type { usage } from '@dovecote/proto';
import { type Backoff, backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { TerminalError, toError } from '../../lib/errors.ts';
import { bearer, fromGrpc, unary } from '../../lib/grpc.ts';
import type { TokenSource } from '../../lib/identity.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { ShardClients } from '../../lib/shard-clients.ts';
import type { ProxyLimits } from '../limits.ts';
import type { ProxyMetrics } from '../metrics.ts';
import { Headroom } from './headroom.ts';

export interface Metered {
  readonly requestId: string;
  readonly session: string;
  readonly agentGroup: AgentGroup;
  /** as asked for; as the answer named it, at the end */
  readonly model: string;
}

export interface UsageLedgerDeps {
  readonly clients: ShardClients<usage.UsageClient>;
  readonly tokens: TokenSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: ProxyMetrics;
  readonly limits: Pick<ProxyLimits, 'admitMs' | 'unfinished'>;
}

const RETRY: Backoff = { baseMs: 250, maxMs: 30_000 };
const FINISH_MS = 10_000;
/** A shard that does not know the agent may only be behind; after so many tries it is right. */
const TERMINAL_TRIES = 5;
/** At the end of the process, for what is on its way. */
const CLOSE_MS = 5_000;

export class UsageLedger {
  readonly #deps: UsageLedgerDeps;
  /** this process, as delivery knows whom it gave headroom */
  readonly #holder: string;
  readonly #headroom: Headroom;
  /** requests that began before they were rows, and how to end the tries to make them such */
  readonly #recording = new Map<string, AbortController>();
  readonly #telling = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(deps: UsageLedgerDeps) {
    this.#deps = deps;
    this.#holder = deps.random.id(16);
    this.#headroom = new Headroom(deps.clock);
  }

  /** True: the request may be sent at once, and its row is written beside it. False: `admit` has to be asked. */
  begin(request: Metered): boolean {
    const { agentGroup, requestId } = request;
    // Without a budget nothing can be refused.
    if (agentGroup.spec.budget !== undefined && !this.#headroom.take(agentGroup, requestId)) return false;
    const recording = new AbortController();
    this.#recording.set(requestId, recording);
    setImmediate(() => void this.#record(request, AbortSignal.any([recording.signal, this.#stop.signal]))); // the request goes out first
    return true;
  }

  /** Resolves when the row is durable, or the request is refused. Rejects when the home shard cannot be asked. */
  async admit(request: Metered): Promise<usage.AdmitResponse> {
    const { agentGroup } = request;
    try {
      return await this.#admit(request, false);
    } catch (e) {
      throw fromGrpc(`ask for the budget of AgentGroup ${agentGroup.metadata.name}`, e);
    }
  }

  /** Told in the background until delivery has it. What cannot be told stays there as a request whose end nobody saw. */
  finish(request: Metered, tokens: usage.Tokens, complete: boolean): void {
    const { limits, metrics } = this.#deps;
    const recording = this.#recording.get(request.requestId);
    this.#recording.delete(request.requestId);
    if (this.#telling.size >= limits.unfinished) {
      this.#lost(request, new Error(`${limits.unfinished} requests wait already`));
      return;
    }
    recording?.abort(new Error('its end makes the row too'));
    const telling: Promise<void> = this.#tell(request, tokens, complete)
      .catch((e: unknown) => this.#lost(request, toError(e)))
      .finally(() => {
        this.#telling.delete(telling);
        metrics.usagePending.set(this.#telling.size);
      });
    this.#telling.add(telling);
    metrics.usagePending.set(this.#telling.size);
  }

  /** Waits a little for what is still to be told. */
  async close(): Promise<void> {
    const told = new AbortController();
    this.#deps.clock.sleep(CLOSE_MS, told.signal).then(
      () => this.#stop.abort(new Error('the proxy ended')),
      () => {}, // all of it was told before
    );
    await Promise.all(this.#telling);
    told.abort();
    this.#stop.abort(new Error('the proxy ended'));
    this.#deps.clients.close();
  }

  async #admit({ agentGroup, ...request }: Metered, begun: boolean): Promise<usage.AdmitResponse> {
    const client = this.#client(agentGroup);
    const metadata = await bearer(this.#deps.tokens, 'dovecote-delivery');
    const asked = { ...request, agentGroup: agentGroup.metadata.name, holder: this.#holder, begun };
    const question = this.#headroom.ask();
    const answer = await unary(client, client.admit, asked, { metadata, deadlineMs: this.#deps.limits.admitMs });
    this.#headroom.answered(agentGroup, question, answer.headroom);
    return answer;
  }

  /** Until it is a row, or its end is being told. */
  async #record(request: Metered, signal: AbortSignal): Promise<void> {
    const { clock, random, metrics, log } = this.#deps;
    const { agentGroup, requestId, session } = request;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.#admit(request, true);
        this.#headroom.settled(agentGroup, requestId);
        return;
      } catch (e) {
        const err = fromGrpc(`record a request of AgentGroup ${agentGroup.metadata.name}`, e);
        if (attempt === 1) {
          metrics.unadmitted.inc();
          log.warn({ session, agentGroup: agentGroup.metadata.name, err }, 'model request went on although it could not be recorded yet');
        }
        if (err instanceof TerminalError && attempt >= TERMINAL_TRIES) return;
        await clock.sleep(backoffMs(attempt, RETRY, random), signal).catch(() => {}); // its end was told, or the process ends
      }
    }
  }

  async #tell({ agentGroup, ...request }: Metered, tokens: usage.Tokens, complete: boolean): Promise<void> {
    const { clock, random } = this.#deps;
    for (let attempt = 1; ; attempt++) {
      try {
        const client = this.#client(agentGroup);
        const metadata = await bearer(this.#deps.tokens, 'dovecote-delivery');
        const told = { ...request, agentGroup: agentGroup.metadata.name, tokens, complete, holder: this.#holder };
        const question = this.#headroom.ask();
        const { headroom } = await unary(client, client.finish, told, { metadata, deadlineMs: FINISH_MS, signal: this.#stop.signal });
        this.#headroom.answered(agentGroup, question, headroom);
        this.#headroom.settled(agentGroup, request.requestId);
        return;
      } catch (e) {
        const error = fromGrpc(`tell the usage of AgentGroup ${agentGroup.metadata.name}`, e);
        if (this.#stop.signal.aborted || (error instanceof TerminalError && attempt >= TERMINAL_TRIES)) throw error;
        await clock.sleep(backoffMs(attempt, RETRY, random), this.#stop.signal);
      }
    }
  }

  #client({ metadata, status }: AgentGroup): usage.UsageClient {
    const home = status?.shards?.[0];
    if (home === undefined) throw new Error(`AgentGroup ${metadata.name} has no home shard yet`);
    return this.#deps.clients.client(home);
  }

  #lost({ requestId, session, agentGroup }: Metered, err: Error): void {
    this.#headroom.settled(agentGroup, requestId);
    this.#deps.metrics.usageLost.inc();
    this.#deps.log.error({ requestId, session, agentGroup: agentGroup.metadata.name, err }, 'usage of a model request could not be told');
  }
}
