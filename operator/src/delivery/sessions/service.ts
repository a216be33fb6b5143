/** What people see of a shard: the read side, behind gateways that have authenticated them. */
import { isPassing, type sessions } from '@dovecote/proto';
import type { Clock } from '../../lib/clock.ts';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import { parseScope } from '../../lib/scope.ts';
import type { Cells } from '../cells/cells.ts';
import type { Drops } from '../inbox/drops.ts';
import type { IndexedSession, ShardIndex } from '../shard/index-db.ts';
import type { Wake } from '../wake/wake.ts';
import { readPage } from './conversation.ts';
import { formatCursor, parseCursor, START } from './cursor.ts';

export interface SessionsDeps {
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly drops: Drops;
  readonly clock: Clock;
  readonly log: Log;
  readonly wake: Pick<Wake, 'state' | 'queuePosition'>;
}

const PASSING_TRIES = 50;

export function listSessions(deps: SessionsDeps, request: sessions.ListSessionsRequest): sessions.ListSessionsResponse {
  const rows = deps.index.list(request.agentGroup, request.limit > 0 ? Math.min(request.limit, 10_000) : 100);
  return { sessions: rows.map((row) => summaryOf(deps, row)) };
}

function summaryOf({ wake, index }: SessionsDeps, listed: IndexedSession): sessions.SessionSummary {
  const row = index.get(listed.session) ?? listed;
  const chat = parseScope(row.scope);
  return {
    session: row.session,
    agentGroup: row.agent_group,
    scope: row.scope,
    title: row.title ?? '',
    type: row.type,
    state: wake.state(row.session),
    lastActivityMs: row.last_activity,
    channel: chat?.channel ?? '',
    chat: chat?.chat ?? '',
    thread: chat?.thread ?? '',
    queuePosition: wake.queuePosition(row.session),
    pending: row.pending,
  };
}

/** Throws StatusError NOT_FOUND or INVALID_ARGUMENT. */
export async function listMessages(
  { cells, clock }: SessionsDeps,
  request: sessions.ListMessagesRequest,
  signal: AbortSignal,
): Promise<sessions.ListMessagesResponse> {
  const { session } = request;
  if (!cells.has(session)) throw new StatusError(status.NOT_FOUND, `session ${JSON.stringify(session)} has no cell on this shard`);
  const limit = request.limit > 0 ? Math.min(request.limit, 1_000) : 200;
  const positions = parseCursor(request.afterCursor);
  const messages: sessions.ChatMessage[] = [];
  let failed = 0;
  while (messages.length < limit) {
    let steps: ReturnType<typeof readPage>['steps'];
    try {
      ({ steps } = readPage(cells.open(session), positions.get(session) ?? START, limit - messages.length));
    } catch (e) {
      failed += 1;
      if (!isPassing(e) || failed > PASSING_TRIES) throw e;
      await clock.sleep(20, signal);
      continue;
    }
    for (const { message, after } of steps) {
      positions.set(session, after);
      if (message !== undefined) messages.push({ ...message, cursor: formatCursor(positions) });
    }
    if (steps.length === 0) break;
  }
  return { messages };
}
