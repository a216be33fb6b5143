/** The proxy's word to delivery about usage: asked before a request, told after it. The rows are delivery's. */
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
  readonly #telling = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(deps: UsageLedgerDeps) {
    this.#deps = deps;
  }

  /** Resolves when the row is durable, or the request is refused. Rejects when the home shard cannot be asked. */
  async admit({ agentGroup, ...request }: Metered): Promise<usage.AdmitResponse> {
    const { tokens, limits } = this.#deps;
    const client = this.#client(agentGroup);
    const metadata = await bearer(tokens, 'dovecote-delivery');
    try {
      return await unary(
        client,
        client.admit,
        { ...request, agentGroup: agentGroup.metadata.name },
        { metadata, deadlineMs: limits.admitMs },
      );
    } catch (e) {
      throw fromGrpc(`ask for the budget of AgentGroup ${agentGroup.metadata.name}`, e);
    }
  }

  /** Told in the background until delivery has it. What cannot be told stays there as a request whose end nobody saw. */
  finish(request: Metered, tokens: usage.Tokens, complete: boolean): void {
    const { limits, metrics } = this.#deps;
    if (this.#telling.size >= limits.unfinished) {
      this.#lost(request, new Error(`${limits.unfinished} requests wait already`));
      return;
    }
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
    this.#deps.clients.close();
  }

  async #tell({ agentGroup, ...request }: Metered, tokens: usage.Tokens, complete: boolean): Promise<void> {
    const { clock, random } = this.#deps;
    for (let attempt = 1; ; attempt++) {
      try {
        const client = this.#client(agentGroup);
        const metadata = await bearer(this.#deps.tokens, 'dovecote-delivery');
        const told = { ...request, agentGroup: agentGroup.metadata.name, tokens, complete };
        await unary(client, client.finish, told, { metadata, deadlineMs: FINISH_MS, signal: this.#stop.signal });
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
    this.#deps.metrics.usageLost.inc();
    this.#deps.log.error({ requestId, session, agentGroup: agentGroup.metadata.name, err }, 'usage of a model request could not be told');
  }
}
