import { type Client, connectivityState } from '@grpc/grpc-js';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { shardAddress } from './shard-address.ts';

const STUCK_MS = 30_000;

interface Entry<C> {
  readonly client: C;
  /** ms since 1970 since when every look found it not connected; undefined: it was connected at the last look. */
  notReadySince: number | undefined;
}

/** The way to delivery: one gRPC connection per shard, made when it is first needed. */
export class ShardClients<C extends Client> {
  readonly #entries = new Map<string, Entry<C>>();
  readonly #connect: (address: string) => C;
  readonly #template: string;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(deps: {
    readonly shardAddressTemplate: string;
    readonly connect: (address: string) => C;
    readonly clock: Clock;
    readonly log: Log;
  }) {
    this.#connect = deps.connect;
    this.#template = deps.shardAddressTemplate;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  client(shard: string): C {
    const entry = this.#entries.get(shard);
    if (entry !== undefined && !this.#stuck(shard, entry)) return entry.client;
    const client = this.#connect(shardAddress(this.#template, shard));
    this.#entries.set(shard, { client, notReadySince: undefined });
    return client;
  }

  close(): void {
    for (const { client } of this.#entries.values()) client.close();
    this.#entries.clear();
  }

  /**
   * A connection that is on its way for half a minute hangs on an address of a Pod that is no more; a new one resolves the name again.
   */
  #stuck(shard: string, entry: Entry<C>): boolean {
    const state = entry.client.getChannel().getConnectivityState(false);
    if (state !== connectivityState.CONNECTING && state !== connectivityState.TRANSIENT_FAILURE) {
      entry.notReadySince = undefined;
      return false;
    }
    const now = this.#clock.now();
    entry.notReadySince ??= now;
    if (now - entry.notReadySince < STUCK_MS) return false;
    this.#log.warn({ shard }, 'connection to a shard is stuck and is made anew');
    entry.client.close();
    this.#entries.delete(shard);
    return true;
  }
}
