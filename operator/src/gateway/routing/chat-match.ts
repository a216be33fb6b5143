import type { MessagingGroup } from '@dovecote/crds';
import type { ChatClass } from '../channels/channel.ts';

/** The MessagingGroups of an installation, found by channel and chat. Rebuilt when one of them changes. */
export class ChatIndex {
  readonly #byChat = new Map<string, MessagingGroup>();
  readonly #byClass = new Map<string, MessagingGroup>();

  constructor(groups: readonly MessagingGroup[]) {
    // Of two that name the same chat the older one stands; the controller tells the other one.
    const oldestLast = [...groups].sort(
      (a, b) => compare(b.metadata.creationTimestamp, a.metadata.creationTimestamp) || compare(b.metadata.name, a.metadata.name),
    );
    for (const group of oldestLast) {
      const { channelRef, chatId, chatClass } = group.spec;
      if (chatId !== undefined) this.#byChat.set(key(channelRef, chatId), group);
      else if (chatClass !== undefined) this.#byClass.set(key(channelRef, chatClass), group);
    }
  }

  /** The most specific one wins: this chat, then its class, then Any. */
  match(channel: string, chat: string, chatClass: ChatClass): MessagingGroup | undefined {
    return this.#byChat.get(key(channel, chat)) ?? this.#byClass.get(key(channel, chatClass)) ?? this.#byClass.get(key(channel, 'Any'));
  }
}

const key = (channel: string, rest: string): string => `${channel}\0${rest}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
