import { type ChannelCredentials, type ChannelOptions, credentials } from '@grpc/grpc-js';
import { CHANNEL_OPTIONS } from '../../lib/grpc.ts';
import { shardAddress } from '../../lib/shard-address.ts';

type ClientClass<C> = new (address: string, credentials: ChannelCredentials, options: Partial<ChannelOptions>) => C;

/** A client of one service for each shard. Connections are shared with other services' and the inbox's: grpc-js pools them by address. */
export class ShardedClients<C extends { close(): void }> {
  readonly #clients = new Map<string, C>();
  readonly #service: ClientClass<C>;
  readonly #template: string;

  constructor(service: ClientClass<C>, shardAddressTemplate: string) {
    this.#service = service;
    this.#template = shardAddressTemplate;
  }

  of(shards: readonly string[]): ReadonlyMap<string, C> {
    return new Map(
      shards.map((shard) => {
        const address = shardAddress(this.#template, shard);
        const client = this.#clients.get(shard) ?? new this.#service(address, credentials.createInsecure(), CHANNEL_OPTIONS);
        this.#clients.set(shard, client);
        return [shard, client];
      }),
    );
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
