/** `dovecote why`: what is recorded of one event or message, step by step. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type AckRow, type DeliveredRow, type MessageInRow, readOutbound, type sessions } from '@dovecote/proto';
import { toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Cell, Cells } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import type { Drops } from '../inbox/drops.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import type { WakeState } from '../wake/wake.ts';

export interface ExplainDeps {
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly drops: Drops;
  readonly log: Log;
  readonly state: (session: string) => WakeState;
}

/** Of an event id, a platform message id, or "<session>/<seq>". Looks into every cell when it must: for people, not for programs. */
export async function explain(deps: ExplainDeps, { id }: sessions.ExplainRequest, signal: AbortSignal): Promise<sessions.ExplainResponse> {
  const steps: sessions.ExplainStep[] = deps.drops.ofEvent(id).map((drop) => ({
    atMs: drop.at,
    stage: 'gate',
    what: drop.agent_group === '' ? `Dropped: ${drop.detail}` : `Not for ${drop.agent_group}: ${drop.detail}`,
    reason: drop.reason,
  }));
  let session = '';
  const bySeq = /^([^/]+)\/([0-9]+)$/.exec(id);
  if (bySeq?.[1] !== undefined && deps.cells.has(bySeq[1])) {
    const found = rowSteps(deps, deps.cells.open(bySeq[1]), Number(bySeq[2]));
    if (found.length > 0) session = bySeq[1];
    steps.push(...found);
  }
  for (const [n, candidate] of session === '' && id !== '' ? deps.index.list('', Number.MAX_SAFE_INTEGER).entries() : []) {
    if (n % 16 === 15) await nextTurn(undefined, { signal });
    try {
      const cell = deps.cells.open(candidate.session);
      const seqs = prepared(
        cell.inbound,
        `SELECT seq FROM messages_in WHERE event_id = @id UNION SELECT seq FROM messages_in WHERE platform_message_id = @id
         UNION SELECT seq FROM delivered WHERE platform_message_id = @id`,
      )
        .pluck()
        .all({ id }) as number[];
      if (seqs.length === 0) continue;
      session = candidate.session;
      for (const seq of seqs) steps.push(...rowSteps(deps, cell, seq));
    } catch (e) {
      deps.log.warn({ session: candidate.session, err: toError(e) }, 'cell could not be searched');
    }
  }
  return { found: steps.length > 0, session, steps: steps.sort((a, b) => a.atMs - b.atMs) };
}

function rowSteps(deps: ExplainDeps, cell: Cell, seq: number): sessions.ExplainStep[] {
  const row = prepared(cell.inbound, 'SELECT * FROM messages_in WHERE seq = ?').get(seq) as MessageInRow | undefined;
  if (row === undefined) return ledgerSteps(cell, seq);
  const steps: sessions.ExplainStep[] = [];
  const add = (atMs: number, stage: string, what: string, reason = ''): number => steps.push({ atMs, stage, what, reason });
  const role = row.trigger === 1 ? 'as a message that calls the agent' : 'as silent context';
  add(row.created_at, 'gate', `Routed to ${cell.meta.agent_group} ${role}.`, row.reason ?? '');
  add(row.created_at, 'inbox', `Stored in session ${cell.session} as message ${row.seq}.`, row.status);
  if (row.status === 'pending' && row.trigger === 1)
    add(row.created_at, 'wake', `The session is ${deps.state(cell.session)}.`, deps.state(cell.session));
  const ack = ackOf(cell, seq);
  if (ack !== undefined) add(ack.at, 'turn', `Turn ${ack.turn_id}: ${ack.state}, try ${ack.tries}.`, ack.error ?? '');
  if (row.status === 'dead') add(ack?.at ?? row.created_at, 'turn', `Set aside after ${row.tries} tries.`, row.last_error ?? '');
  for (const answer of answersTo(cell, seq)) steps.push(...ledgerSteps(cell, answer));
  return steps;
}

function ledgerSteps(cell: Cell, seq: number): sessions.ExplainStep[] {
  const row = prepared(cell.inbound, 'SELECT * FROM delivered WHERE seq = ?').get(seq) as DeliveredRow | undefined;
  if (row === undefined) return [];
  const attempts = `${row.attempts} ${row.attempts === 1 ? 'attempt' : 'attempts'}`;
  return [
    { atMs: row.created_at, stage: 'outbox', what: `Message ${seq} was taken over for ${decodeURIComponent(row.lane)}.`, reason: '' },
    {
      atMs: row.updated_at,
      stage: 'platform',
      what: `Message ${seq} is ${row.state} after ${attempts}${row.platform_message_id === null ? '' : `, as ${row.platform_message_id}`}.`,
      reason: row.last_error ?? '',
    },
  ];
}

/** What the agent's file says is for people here; an unreadable one says nothing. */
function ackOf(cell: Cell, seq: number): AckRow | undefined {
  try {
    const outbound = cell.outbound();
    if (outbound === undefined) return undefined;
    const sql = `SELECT state, substr(turn_id, 1, 100) AS turn_id, tries, substr(error, 1, 1000) AS error, at FROM acks WHERE in_seq = ?`;
    return readOutbound(outbound, () => prepared(outbound, sql).get(seq)) as AckRow | undefined;
  } catch {
    return undefined;
  }
}

function answersTo(cell: Cell, seq: number): number[] {
  try {
    const outbound = cell.outbound();
    if (outbound === undefined) return [];
    const sql = 'SELECT seq FROM messages_out WHERE in_reply_to = ? ORDER BY seq LIMIT 50';
    return readOutbound(outbound, () => prepared(outbound, sql).pluck().all(seq)) as number[];
  } catch {
    return [];
  }
}
