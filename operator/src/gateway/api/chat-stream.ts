/** What a web chat sees: the messages of its chat on every shard that may hold one, as one stream that can be resumed. */

import type { sessions } from '@dovecote/proto';
import type { Metadata } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';

export interface ChatEvent {
  /** resumes behind this event; undefined for what is never stored */
  readonly id?: string;
  readonly event: 'message' | 'activity' | 'partial';
  readonly data: sessions.ChatMessage | sessions.Activity | sessions.PartialMessage;
}

/** Where each shard's stream stands. Opaque to the page: it only gives it back. */
export type ShardCursors = Readonly<Record<string, string>>;

export function encodeCursor(cursors: ShardCursors): string {
  return Buffer.from(JSON.stringify(cursors)).toString('base64url');
}

/** An unreadable cursor is the beginning: the page then sees everything again, which is harmless. */
export function decodeCursor(text: string): ShardCursors {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (typeof value !== 'object' || value === null) return {};
    return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch {
    return {};
  }
}

/**
 * Streams until `signal` aborts or any shard's stream ends; the page then comes again with its last cursor.
 */
export async function streamChat(options: {
  readonly clients: ReadonlyMap<string, sessions.SessionsClient>;
  readonly metadata: () => Promise<Metadata>;
  readonly channel: string;
  readonly chat: string;
  readonly after: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly keepaliveMs: number;
  /** called when nothing was emitted for so long */
  readonly keepalive: () => void;
  readonly emit: (event: ChatEvent) => void;
  /** the page has not taken what was emitted */
  readonly isBehind: () => boolean;
}): Promise<void> {
  const cursors: Record<string, string> = { ...decodeCursor(options.after) };
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const metadata = await options.metadata();
  const follow = async (shard: string, client: sessions.SessionsClient): Promise<void> => {
    const call = client.watchMessages(
      { session: '', channel: options.channel, chat: options.chat, afterCursor: cursors[shard] ?? '' },
      metadata,
    );
    const cancel = (): void => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    try {
      for await (const response of call as AsyncIterable<sessions.WatchMessagesResponse>) {
        const update = response.update;
        if (update?.$case === 'message') {
          cursors[shard] = update.value.cursor;
          options.emit({ id: encodeCursor(cursors), event: 'message', data: update.value });
        } else if (update?.$case === 'activity') {
          options.emit({ event: 'activity', data: update.value });
        } else if (update?.$case === 'partial') {
          // A text that grows is sent whole each time: for a page that is behind only the end of it is worth its bytes.
          if (update.value.text === '' || !options.isBehind()) options.emit({ event: 'partial', data: update.value });
        }
      }
    } finally {
      signal.removeEventListener('abort', cancel);
      ended.abort(); // half a stream would look whole: all end together
    }
  };
  const keepAlive = async (): Promise<void> => {
    while (!signal.aborted) {
      await options.clock.sleep(options.keepaliveMs, signal).catch(() => {}); // rejects only when the stream ends
      if (!signal.aborted) options.keepalive();
    }
  };
  const alive = keepAlive();
  const results = await Promise.allSettled([...options.clients].map(([shard, client]) => follow(shard, client)));
  ended.abort();
  await alive;
  if (options.signal.aborted) return;
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
