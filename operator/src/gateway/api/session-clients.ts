import { sessions } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { CHANNEL_OPTIONS } from '../../lib/grpc.ts';
import { shardAddress } from '../../lib/shard-address.ts';

/** The read side of each shard. Connections are shared with the inbox's: grpc-js pools them by address. */
export class SessionClients {
  readonly #clients = new Map<string, sessions.SessionsClient>();
  readonly #template: string;

  constructor(shardAddressTemplate: string) {
    this.#template = shardAddressTemplate;
  }

  of(shards: readonly string[]): ReadonlyMap<string, sessions.SessionsClient> {
    return new Map(
      shards.map((shard) => {
        const client =
          this.#clients.get(shard) ??
          new sessions.SessionsClient(shardAddress(this.#template, shard), credentials.createInsecure(), CHANNEL_OPTIONS);
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
