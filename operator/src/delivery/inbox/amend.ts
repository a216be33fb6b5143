/** Edits and deletions of platform messages: in the row itself while no turn has it, else the agent is told by a row of its own. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ATTACHMENTS, type InboundContent, inbox, type MessageInRow, readOutbound } from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import type { Inbox, InboxDeps } from './inbox.ts';
import { checkScope, checkText, invalid, orNull, systemMessage } from './new-message.ts';
import { agentOnShard, findSession } from './resolve-session.ts';

/** content with the edits that were applied, so that a redelivered one is not applied again over a newer one */
type AmendedContent = InboundContent & { readonly amendments?: readonly string[] };

/** Errors as in inbox.proto. */
export async function amend(deps: InboxDeps & { readonly inbox: Inbox }, request: inbox.AmendRequest): Promise<inbox.AmendResponse> {
  checkScope(request.scope);
  checkText('event_id', request.eventId, 1, 512);
  checkText('platform_message_id', request.platformMessageId, 1, 512);
  checkText('new_text', request.change?.$case === 'newText' ? request.change.value : '', 0, 1024 * 1024);
  if (request.change === undefined) throw invalid('change', 'is missing', undefined);
  if (deps.space.full) throw new StatusError(status.RESOURCE_EXHAUSTED, 'the volume is full; send the change again later');
  const session = findSession(deps, await agentOnShard(deps, request.agentGroup), request.scope);
  if (session === undefined || !deps.cells.has(session)) return { outcome: inbox.AmendOutcome.UNKNOWN };
  const cell = deps.cells.open(session);
  const row = prepared(
    cell.inbound,
    'SELECT * FROM messages_in WHERE platform_message_id = ? AND channel IS ? AND chat IS ? ORDER BY seq DESC LIMIT 1',
  ).get(request.platformMessageId, orNull(request.channel), orNull(request.chat)) as MessageInRow | undefined;
  if (row === undefined) return { outcome: inbox.AmendOutcome.UNKNOWN };
  if (isApplied(cell, row, request.eventId)) return { outcome: inbox.AmendOutcome.DUPLICATE };
  // A choice that was made stands; that its maker would now write something else is for the agent to know.
  if (row.status === 'pending' && !isChoice(row) && !isClaimed(cell, row.seq)) {
    applyInPlace(deps, cell, row, request);
    deps.onAmended(session, row.seq);
    // A runner claims first and reads then. Had it claimed in between, it may have read the old text: it is told as well.
    if (!isClaimed(cell, row.seq)) return { outcome: inbox.AmendOutcome.UPDATED };
  }
  const { outcome } = await deps.inbox.append(session, systemMessage(request.eventId, sentence(row, request), row));
  return { outcome: outcome === 'duplicate' ? inbox.AmendOutcome.DUPLICATE : inbox.AmendOutcome.TOLD };
}

function isApplied(cell: Cell, row: MessageInRow, eventId: string): boolean {
  if ((JSON.parse(row.content) as AmendedContent).amendments?.includes(eventId) === true) return true;
  return prepared(cell.inbound, 'SELECT 1 FROM messages_in WHERE event_id = ?').get(eventId) !== undefined;
}

function isChoice(row: MessageInRow): boolean {
  return (JSON.parse(row.content) as InboundContent).answer !== undefined;
}

/** A turn has it, though its ack was not copied yet. An unreadable outbound file counts as that: telling twice is better than never. */
function isClaimed(cell: Cell, seq: number): boolean {
  try {
    const outbound = cell.outbound();
    if (outbound === undefined) return false;
    return readOutbound(outbound, () => prepared(outbound, 'SELECT 1 FROM acks WHERE in_seq = ?').get(seq) !== undefined);
  } catch {
    return true;
  }
}

function applyInPlace(deps: InboxDeps, cell: Cell, row: MessageInRow, request: inbox.AmendRequest): void {
  const old = JSON.parse(row.content) as AmendedContent;
  const amendments = [...(old.amendments ?? []), request.eventId];
  const write = cell.inbound.transaction((content: AmendedContent, deleted: boolean) => {
    prepared(cell.inbound, 'UPDATE messages_in SET content = ? WHERE seq = ?').run(JSON.stringify(content), row.seq);
    if (deleted)
      prepared(cell.inbound, "UPDATE messages_in SET status = 'done', trigger = 0, reason = 'Deleted' WHERE seq = ?").run(row.seq);
    deps.reached('delivery/before-commit');
  });
  if (request.change?.$case === 'newText') {
    write.immediate({ ...old, text: request.change.value, edited: true, amendments }, false);
    return;
  }
  write.immediate({ text: '', amendments }, true);
  rmSync(join(cell.paths.in, ATTACHMENTS, String(row.seq)), { recursive: true, force: true });
}

function sentence(row: MessageInRow, request: inbox.AmendRequest): string {
  const who = request.senderName !== '' ? request.senderName : (row.sender_name ?? 'The sender');
  if (request.change?.$case === 'newText') return `${who} edited message ${row.seq}. It now reads: ${request.change.value}`;
  return `${who} deleted message ${row.seq}.`;
}
