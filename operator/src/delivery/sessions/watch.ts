/** One reader of conversations: what there is, then what comes. Reads only as fast as the reader takes: nothing piles up for a slow one. */

import { isPassing, type sessions } from '@dovecote/proto';
import type { Clock } from '../../lib/clock.ts';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Cells } from '../cells/cells.ts';
import type { Feed } from '../shard/feed.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import { type ChatFilter, readPage } from './conversation.ts';
import { formatCursor, parseCursor, START } from './cursor.ts';
import { type Sink, write } from './write.ts';

export interface WatchDeps {
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly activity: (session: string) => sessions.Activity;
  /** Told when what a session writes has changed. */
  readonly partials: Feed;
  /** The answer that is being written, and the chat that it is for. */
  readonly partial: (session: string) => Writing | undefined;
}

export interface Writing {
  readonly turn: string;
  /** Markdown, not empty */
  readonly text: string;
  readonly channel: string;
  readonly chat: string;
}

type Call = Sink<sessions.WatchMessagesResponse>;

const PAGE = 100;
/** A read that met a commit succeeds a moment later. */
const AGAIN_MS = 20;

/** Until `signal` aborts. Throws StatusError NOT_FOUND, INVALID_ARGUMENT, or what a cell's files throw. */
export async function watchMessages(
  deps: WatchDeps,
  request: sessions.WatchMessagesRequest,
  call: Call,
  signal: AbortSignal,
): Promise<void> {
  const { cells, index, feed } = deps;
  const positions = parseCursor(request.afterCursor);
  const filter: ChatFilter | undefined = request.session === '' ? { channel: request.channel, chat: request.chat } : undefined;
  if (filter !== undefined && (filter.channel === '' || filter.chat === ''))
    throw new StatusError(status.INVALID_ARGUMENT, 'session, or channel and chat, must be given');
  if (filter === undefined && !cells.has(request.session))
    throw new StatusError(status.NOT_FOUND, `session ${JSON.stringify(request.session)} has no cell on this shard`);
  const concerned = (): readonly string[] => (filter === undefined ? [request.session] : index.sessionsOfChat(filter.channel, filter.chat));

  const news = new Set<string>(concerned());
  const writing = new Set<string>(news);
  let wake = Promise.withResolvers<void>();
  const noting = (set: Set<string>) => (session: string) => {
    if (filter === undefined && session !== request.session) return;
    set.add(session);
    wake.resolve();
  };
  const unsubscribe = [feed.subscribe(noting(news)), deps.partials.subscribe(noting(writing))];
  const stop = (): void => wake.resolve();
  signal.addEventListener('abort', stop, { once: true });
  const shown = new Map<string, string>();
  const written = new Map<string, Writing>();
  try {
    while (!signal.aborted) {
      wake = Promise.withResolvers<void>();
      const mine = new Set(concerned());
      const now = [...news].filter((session) => mine.has(session));
      news.clear();
      // Before the messages: a text must not come back behind the message that it became.
      const changed = [...writing].filter((session) => mine.has(session));
      writing.clear();
      for (const session of changed) await showPartial(deps, session, written, filter, call, signal);
      for (const session of now) {
        await showMessages(deps, session, positions, filter, call, signal);
        const activity = deps.activity(session);
        const text = JSON.stringify(activity);
        if (shown.get(session) === text) continue;
        shown.set(session, text);
        await write(call, { update: { $case: 'activity', value: activity } }, signal);
      }
      if (news.size + writing.size === 0 && !signal.aborted) await wake.promise;
    }
  } finally {
    for (const end of unsubscribe) end();
    signal.removeEventListener('abort', stop);
  }
}

/** The newest text alone, however many there were since this reader took the last. */
async function showPartial(
  { partial }: WatchDeps,
  session: string,
  written: Map<string, Writing>,
  filter: ChatFilter | undefined,
  call: Call,
  signal: AbortSignal,
): Promise<void> {
  const found = partial(session);
  const mine = filter === undefined || (found?.channel === filter.channel && found.chat === filter.chat);
  const now = mine ? found : undefined;
  const before = written.get(session);
  if (now?.turn === before?.turn && now?.text === before?.text) return;
  if (now === undefined) written.delete(session);
  else written.set(session, now);
  const value = { session, turn: now?.turn ?? before?.turn ?? '', text: now?.text ?? '' };
  await write(call, { update: { $case: 'partial', value } }, signal);
}

async function showMessages(
  { cells, clock }: WatchDeps,
  session: string,
  positions: Map<string, ReturnType<typeof parseCursor> extends Map<string, infer P> ? P : never>,
  filter: ChatFilter | undefined,
  call: Call,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    let steps: ReturnType<typeof readPage>['steps'];
    try {
      ({ steps } = readPage(cells.open(session), positions.get(session) ?? START, PAGE, filter));
    } catch (e) {
      if (!isPassing(e)) throw e;
      await clock.sleep(AGAIN_MS, signal);
      continue;
    }
    for (const { message, after } of steps) {
      positions.set(session, after);
      if (message === undefined) continue;
      await write(call, { update: { $case: 'message', value: { ...message, cursor: formatCursor(positions) } } }, signal);
      if (signal.aborted) return;
    }
    if (steps.length === 0 || signal.aborted) return;
  }
}
