/** Hop 4: the way to delivery. One gRPC connection per shard, made when it is first needed. */

import { inbox } from '@dovecote/proto';
import { connectivityState, credentials } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import { CHANNEL_OPTIONS } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import { shardAddress } from '../../lib/shard-address.ts';

const STUCK_MS = 30_000;

interface Entry {
  readonly client: inbox.InboxClient;
  /** ms since 1970 since when every look found it not connected; undefined: it was connected at the last look. */
  notReadySince: number | undefined;
}

export class ShardClients {
  readonly #entries = new Map<string, Entry>();
  readonly #template: string;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(deps: { readonly shardAddressTemplate: string; readonly clock: Clock; readonly log: Log }) {
    this.#template = deps.shardAddressTemplate;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  client(shard: string): inbox.InboxClient {
    const entry = this.#entries.get(shard);
    if (entry !== undefined && !this.#stuck(shard, entry)) return entry.client;
    const address = shardAddress(this.#template, shard);
    const client = new inbox.InboxClient(address, credentials.createInsecure(), CHANNEL_OPTIONS);
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
  #stuck(shard: string, entry: Entry): boolean {
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
