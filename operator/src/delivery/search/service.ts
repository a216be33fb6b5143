/** What an agent may look up of its other conversations. The caller is a session; it sees its own AgentGroup's and no others. */
import type { AgentGroup, Channel } from '@dovecote/crds';
import type { agent as proto } from '@dovecote/proto';
import type { Histogram } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import { toError } from '../../lib/errors.ts';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import { parseScope } from '../../lib/scope.ts';
import type { Destinations } from '../outbox/address.ts';
import type { IndexedSession, ShardIndex } from '../shard/index-db.ts';
import type { SearchIndexer } from './indexer.ts';
import type { SearchThread } from './search-thread.ts';

const WEEK_MS = 7 * 86_400_000;
const MAX_QUERY = 500;
const MAX_WORDS = 16;
/** Searches that wait for the one thread that answers them; more are refused at once. */
const MAX_PENDING = 64;
/** What was said a moment ago may keep a search waiting for so long. */
const CATCH_UP_MS = 5_000;

export interface AgentServiceDeps {
  readonly index: Pick<ShardIndex, 'get' | 'ofAgent'>;
  readonly indexer: Pick<SearchIndexer, 'catchUp' | 'unread'>;
  readonly thread: SearchThread;
  readonly shard: string;
  readonly agentGroups: { get(name: string): AgentGroup | undefined };
  readonly channels: { get(name: string): Channel | undefined };
  readonly destinations: Destinations;
  readonly clock: Clock;
  readonly log: Log;
  readonly seconds: Pick<Histogram, 'observe'>;
}

/** Throws StatusError INVALID_ARGUMENT. */
export async function listOwnSessions(
  deps: AgentServiceDeps,
  caller: string,
  request: proto.ListOwnSessionsRequest,
  signal: AbortSignal,
): Promise<proto.ListOwnSessionsResponse> {
  const agent = agentOf(deps, caller);
  const limit = limitOf(request.limit, 20, 200);
  checkLength('type', request.type, 64);
  checkLength('channel_type', request.channelType, 64);
  const matching = deps.index
    .ofAgent(agent)
    .map((row) => ({ ...row, ...whereabouts(deps, row) }))
    .filter((row) => request.type === '' || row.type.toLowerCase() === request.type.toLowerCase())
    .filter((row) => request.channelType === '' || row.channelType === request.channelType.toLowerCase())
    .slice(0, limit);
  await caughtUp(deps, agent, signal); // what was said a moment ago counts
  const counts = await deps.thread.call(
    'counts',
    agent,
    matching.map((row) => row.session),
  );
  return {
    sessions: matching.map((row, n) => ({
      session: row.session,
      type: row.type.toLowerCase(),
      title: row.title ?? '',
      channelType: row.channelType,
      place: row.place,
      lastActivityMs: row.last_activity,
      messages: counts[n] ?? 0,
      own: row.session === caller,
    })),
    unseenShards: unseenShards(deps, caller),
  };
}

/** Throws StatusError INVALID_ARGUMENT, RESOURCE_EXHAUSTED. */
export async function searchMessages(
  deps: AgentServiceDeps,
  caller: string,
  request: proto.SearchMessagesRequest,
  signal: AbortSignal,
): Promise<proto.SearchMessagesResponse> {
  const { index, thread, clock } = deps;
  const agent = agentOf(deps, caller);
  const limit = limitOf(request.limit, 20, 100);
  const now = clock.now();
  const to = request.toMs === 0 ? now : request.toMs;
  const from = request.fromMs === 0 ? Math.min(now, to) - WEEK_MS : request.fromMs;
  if (!(from >= 0 && to <= Number.MAX_SAFE_INTEGER)) throw invalid('from_ms and to_ms', 'must be times after 1970');
  if (from > to) throw invalid('from_ms', 'must not be later than to_ms');
  checkLength('query', request.query, MAX_QUERY);
  checkLength('contact', request.contact, MAX_QUERY);
  checkLength('session', request.session, 63);
  if (!['', 'user', 'assistant'].includes(request.role)) throw invalid('role', 'must be user, assistant or empty');
  const words = request.query.replaceAll('\0', ' ').split(/\s+/).filter(Boolean);
  if (words.length > MAX_WORDS) throw invalid('query', `must have at most ${MAX_WORDS} words`);
  if (thread.pending > MAX_PENDING) throw new StatusError(status.RESOURCE_EXHAUSTED, 'too many searches are under way; try again');
  const startedAt = clock.now();
  const caught = await caughtUp(deps, agent, signal);
  const hits = await thread.call('search', agent, {
    words,
    from,
    to: Math.min(to, 2 ** 42 - 1),
    ...(request.session !== '' && { session: request.session }),
    ...(request.contact !== '' && { contact: request.contact.toLowerCase() }),
    ...(request.role !== '' && { own: request.role === 'assistant' }),
    limit,
  });
  deps.seconds.observe((clock.now() - startedAt) / 1000);
  return {
    messages: hits.slice(0, limit).map((hit) => ({
      session: hit.session,
      title: index.get(hit.session)?.title ?? '',
      seq: hit.seq,
      role: hit.own ? 'assistant' : 'user',
      senderName: hit.sender,
      text: hit.text,
      createdAtMs: hit.at,
    })),
    more: hits.length > limit,
    unreadSessions: Math.max(deps.indexer.unread(agent, request.session === '' ? undefined : request.session), caught ? 0 : 1),
    unseenShards: index.get(request.session)?.agent_group_uid === agent ? 0 : unseenShards(deps, caller),
  };
}

/** False: what was said last may be missing. */
async function caughtUp({ indexer, clock, log }: AgentServiceDeps, agent: string, signal: AbortSignal): Promise<boolean> {
  const done = new AbortController();
  const patience = clock.sleep(CATCH_UP_MS, AbortSignal.any([signal, done.signal])).then(
    () => false,
    () => false,
  );
  try {
    return await Promise.race([indexer.catchUp(agent, AbortSignal.any([signal, done.signal])).then(() => true), patience]);
  } catch (e) {
    log.warn({ err: toError(e) }, 'a search does not find what was said last');
    return false;
  } finally {
    done.abort(new Error('the search does not wait for it any longer'));
    await patience;
  }
}

/** Other shards over which the agent is spread: what lies there, nobody looks at from here. */
function unseenShards({ index, agentGroups, shard }: AgentServiceDeps, caller: string): number {
  const { status } = agentGroups.get(index.get(caller)?.agent_group ?? '') ?? {};
  return (status?.shards ?? []).filter((one) => one !== shard).length;
}

function agentOf({ index }: AgentServiceDeps, caller: string): string {
  const own = index.get(caller);
  if (own === undefined) throw new StatusError(status.PERMISSION_DENIED, 'this session is not on this shard');
  return own.agent_group_uid;
}

/** The chat as people call it: a Destination's name, or its kind. A platform's id is nobody's business. */
function whereabouts(
  { channels, destinations }: AgentServiceDeps,
  { agent_group, scope }: IndexedSession,
): { readonly channelType: string; readonly place: string } {
  const chat = parseScope(scope);
  if (chat === undefined) return { channelType: '', place: 'all chats' };
  const channelType = channels.get(chat.channel)?.spec.type ?? '';
  const named = destinations.byIndex('agentGroup', agent_group).find(({ spec }) => {
    const there = spec.target.channel;
    return there?.channelRef === chat.channel && there.chatId === chat.chat && (there.thread ?? undefined) === chat.thread;
  });
  return { channelType, place: named?.spec.localName ?? (channelType === '' ? 'a chat' : `a ${channelType} chat`) };
}

function limitOf(asked: number, otherwise: number, most: number): number {
  if (asked === 0) return otherwise;
  if (asked < 0 || asked > most) throw invalid('limit', `must be between 1 and ${most}`);
  return asked;
}

function checkLength(field: string, value: string, most: number): void {
  if (value.length > most) throw invalid(field, `must have at most ${most} characters`);
}

function invalid(field: string, sentence: string): StatusError {
  return new StatusError(status.INVALID_ARGUMENT, `${field} ${sentence}`);
}
