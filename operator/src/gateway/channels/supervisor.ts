/** Every Channel of the cluster, connected in this process: added, changed and removed as the objects are. */
import type { Channel } from '@dovecote/crds';
import type { ChannelType, ConnectedChannel } from './channel.ts';
import { ChannelKeeper, type KeeperDeps } from './channel-keeper.ts';
import { channelTypes } from './channel-types.ts';

export interface SupervisorDeps extends Omit<KeeperDeps, 'type'> {
  readonly channels: {
    get(name: string): Channel | undefined;
    list(): readonly Channel[];
    /** Called synchronously after each change. */
    onChange(listener: (change: { readonly object: Channel }) => void): () => void;
  };
  readonly types?: Readonly<Record<string, ChannelType>>;
}

export class ChannelSupervisor {
  readonly #deps: SupervisorDeps;
  readonly #keepers = new Map<string, ChannelKeeper>();
  readonly #closing = new Set<Promise<void>>();
  readonly #unsubscribe: () => void;
  #stopped = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#unsubscribe = deps.channels.onChange(({ object }) => this.#sync(object.metadata.name));
    for (const channel of deps.channels.list()) this.#sync(channel.metadata.name);
  }

  /** undefined: there is no Channel of that name. */
  find(name: string): { readonly channel: Channel; readonly connected: ConnectedChannel | undefined } | undefined {
    return this.#keepers.get(name);
  }

  /** One sentence for each Channel that cannot be used. */
  problems(): readonly string[] {
    return [...this.#keepers].flatMap(([name, { problem }]) => (problem === undefined ? [] : [`channel ${name}: ${problem}`]));
  }

  /** Stops listening first, then ends every connection. */
  async close(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    for (const name of [...this.#keepers.keys()]) this.#remove(name);
    await Promise.all(this.#closing);
  }

  #sync(name: string): void {
    if (this.#stopped) return;
    const channel = this.#deps.channels.get(name);
    const keeper = this.#keepers.get(name);
    if (channel === undefined || channel.metadata.deletionTimestamp !== undefined) {
      this.#remove(name);
      return;
    }
    // The name may have come back as another object, of another type.
    if (keeper !== undefined && keeper.channel.metadata.uid !== channel.metadata.uid) this.#remove(name);
    else if (keeper !== undefined) {
      keeper.update(channel);
      return;
    }
    const type = (this.#deps.types ?? channelTypes)[channel.spec.type];
    if (type === undefined) {
      this.#deps.log.error({ channel: name, type: channel.spec.type }, 'channel is of a type that this version does not have');
      return;
    }
    const made = new ChannelKeeper(channel, { ...this.#deps, type });
    this.#keepers.set(name, made);
    made.ended.addEventListener('abort', () => {
      if (this.#keepers.get(name) !== made) return;
      // One Channel's bug must not end the others: it is set up afresh.
      this.#deps.log.error({ channel: name, err: made.ended.reason }, 'keeper of a channel ended, it is made anew');
      this.#remove(name);
      this.#sync(name);
    });
  }

  #remove(name: string): void {
    const keeper = this.#keepers.get(name);
    if (keeper === undefined) return;
    this.#keepers.delete(name);
    const closed = keeper
      .close()
      .catch((thrown: unknown) => this.#deps.log.error({ channel: name, err: thrown }, 'channel could not be closed cleanly'));
    const tracked = closed.finally(() => this.#closing.delete(tracked));
    this.#closing.add(tracked);
  }
}
