/**
 * Which row of a lane is next, and may it go? Everything that is found out before a call is found out here, in the transaction that
 * commits the row as `sending`.
 */
import { type DeliveredRow, type MessageOutRow, OUTBOUND_DB, platform, readOutbound } from '@dovecote/proto';
import { backoffMs } from '../../lib/backoff.ts';
import type { Random } from '../../lib/random.ts';
import type { Cell } from '../cells/cells.ts';
import { recordQuestion } from '../questions/questions.ts';
import { type Destinations, NOWHERE, parseLane, resolve } from './address.ts';
import type { Claim } from './claimed.ts';
import { BadContentError, type Content, contentJson, parseContent } from './content.ts';
import { setAside } from './dead-letters.ts';
import type { Effects } from './effects.ts';
import * as ledger from './ledger.ts';
import type { OutboxLimits } from './outbox-limits.ts';
import { classifyRead, type OutRow, readRow } from './read-outbound.ts';

export interface ClaimContext {
  readonly cell: Cell;
  readonly destinations: Destinations;
  readonly limits: OutboxLimits;
  readonly random: Random;
  readonly now: number;
  readonly fx: Effects;
  /** The message that an answer of this turn is to replace; 'busy': that is known in a moment. */
  readonly previewOf: (cell: Cell, turn: string, lane: string) => string | 'busy' | undefined;
  /** rows at hand, which need not be read again */
  readonly known?: ReadonlyMap<number, OutRow>;
}

/** How soon to look again when the agent's file was in the middle of a commit. */
const LOOK_AGAIN_MS = 50;

const WIRE_KIND: Readonly<Record<Exclude<MessageOutRow['kind'], 'action'>, platform.OutboundKind>> = {
  chat: platform.OutboundKind.CHAT,
  file: platform.OutboundKind.FILE,
  edit: platform.OutboundKind.EDIT,
  reaction: platform.OutboundKind.REACTION,
  card: platform.OutboundKind.CARD,
  question: platform.OutboundKind.QUESTION,
};

/** "<turn>/<step>/<n>": what the model itself said. Messages that tools sent have a t before the last number. */
const ANSWER_ID = /^([^/]+)\/[0-9]+\/[0-9]+$/;

/** People are told about what they would miss. */
const NOUN: Readonly<Record<MessageOutRow['kind'], string | undefined>> = {
  chat: 'message',
  file: 'file',
  card: 'message',
  question: 'question',
  edit: undefined,
  reaction: undefined,
  action: undefined,
};

/** Commits the lane's next row as sending, setting aside what can never be sent. Inside a transaction. undefined: nothing is due. */
export function claimHead(context: ClaimContext, lane: string): Claim | undefined {
  const { cell, now, fx } = context;
  for (;;) {
    const row = ledger.head(cell.inbound, lane, now);
    if (row === undefined || row.state === 'sending' || row.next_attempt_at > now) return undefined;
    const step = claimRow(context, row);
    if (step === 'stop') return undefined;
    if (step !== 'next') {
      fx.changed.add(row.seq);
      return step;
    }
  }
}

function claimRow(context: ClaimContext, row: DeliveredRow): Claim | 'next' | 'stop' {
  const { cell, limits, random, now, fx } = context;
  const loaded = load(context, row);
  if (loaded === 'busy') {
    fx.lookAgainAt = now + LOOK_AGAIN_MS;
    return 'stop';
  }
  if (loaded === 'fault') {
    ledger.countAttempt(cell.inbound, row.seq);
    if (now - row.created_at >= limits.maxAgeMs) return giveUp(context, row, undefined, 'the file of its session cannot be read', true);
    const state = row.state === 'in_doubt' ? 'in_doubt' : 'failed';
    ledger.again(
      cell.inbound,
      row.seq,
      state,
      'outbound.db cannot be read',
      now + backoffMs(row.attempts + 1, limits.backoff, random),
      now,
    );
    return 'stop';
  }
  if ('reason' in loaded) return giveUp(context, row, loaded.noun, loaded.reason, false);
  const { content, noun, deliverAfter, address } = loaded;
  const to = parseLane(row.lane);
  let [target, replyTo, traceparent] = ['', '', ''];
  if (address !== undefined) {
    const resolved = address(now);
    // A row that may have been sent went where its lane says; what changed since matters when it is sent again.
    if (row.state !== 'in_doubt') {
      if (resolved.outcome === 'refused') return giveUp(context, row, noun, resolved.message, true);
      if (resolved.outcome === 'wait') {
        ledger.again(cell.inbound, row.seq, 'queued', null, resolved.until, now);
        return row.attempts === 0 && row.part === 0 ? 'next' : 'stop';
      }
      if (resolved.lane !== row.lane) {
        if (row.part > 0) return giveUp(context, row, noun, 'its destination changed after its first part was sent', true);
        ledger.move(cell.inbound, row.seq, resolved.lane, now);
        fx.lanes.add(resolved.lane);
        return 'next';
      }
    }
    if (resolved.outcome === 'to')
      [target, replyTo, traceparent] = [resolved.targetMessageId, resolved.replyToMessageId, resolved.traceparent];
  }
  if (content.kind === 'action') return giveUp(context, row, undefined, unsupportedAction(content), true);
  // Before the call: a button may be pressed while its answer is still on the way here.
  if (content.kind === 'question' && !recordQuestion(cell.inbound, row.seq, content, to, now))
    return giveUp(context, row, noun, 'its questionId is that of an earlier question', false);
  let preview: string | undefined;
  if (loaded.turn !== undefined && content.kind === 'chat' && row.part === 0) {
    const shown = context.previewOf(cell, loaded.turn, row.lane);
    if (shown === 'busy') {
      fx.lookAgainAt = now + LOOK_AGAIN_MS;
      return 'stop';
    }
    if (shown !== undefined) [preview, target] = [loaded.turn, shown];
  }
  const claimed = ledger.sending(cell.inbound, row.seq, now);
  return {
    session: cell.session,
    lane: row.lane,
    mode: row.state === 'in_doubt' ? 'settle' : 'send',
    row: claimed,
    noun,
    request: {
      channel: to.channel,
      chat: to.chat,
      thread: to.thread ?? '',
      kind: WIRE_KIND[content.kind],
      content: contentJson(content),
      part: row.part,
      idempotencyKey: row.idempotency_key,
      targetMessageId: target,
      attempt: claimed.attempts,
      traceparent,
      replyToMessageId: replyTo,
    },
    preview,
    // The further parts of a file are the rest of its text.
    file: content.kind === 'file' && row.part === 0 ? content : undefined,
    dueSince: Math.max(row.created_at, deliverAfter),
    inFlightUntil: row.last_error === ledger.INTERRUPTED ? row.updated_at + limits.inFlightMs : 0,
  };
}

/** Where `actions` will take over: until then an agent that asks for one is told. */
export function unsupportedAction(content: Extract<Content, { kind: 'action' }>): string {
  return `the action ${JSON.stringify(content.action)} is not supported yet`;
}

function giveUp(context: ClaimContext, row: DeliveredRow, noun: string | undefined, reason: string, ofChat: boolean): 'next' {
  const { cell, limits, now, fx } = context;
  setAside({ session: cell.session, db: cell.inbound, limits, now, fx }, { row, noun, reason, ofChat });
  return 'next';
}

interface Loaded {
  readonly content: Content;
  readonly noun: string | undefined;
  readonly deliverAfter: number;
  /** of which it is an answer, not a tool's message */
  readonly turn: string | undefined;
  /** undefined: the host's own words, which go where the host said */
  readonly address: ((now: number) => ReturnType<typeof resolve>) | undefined;
}

function load(
  context: ClaimContext,
  row: DeliveredRow,
): Loaded | { readonly reason: string; readonly noun: string | undefined } | 'busy' | 'fault' {
  const { cell, destinations, limits, fx } = context;
  if (row.seq % 2 === 0) {
    const notice = ledger.notice(cell.inbound, row.seq);
    if (notice === undefined) return { reason: 'the notice is gone', noun: undefined };
    const examined = examine({ kind: 'chat', content: notice.content, contentBytes: 0 }, limits);
    if ('reason' in examined) return { reason: examined.reason, noun: undefined };
    return { content: examined.content, noun: undefined, deliverAfter: 0, turn: undefined, address: undefined };
  }
  let out = context.known?.get(row.seq);
  if (out === undefined) {
    try {
      const db = cell.outbound();
      out = db === undefined ? undefined : readOutbound(db, () => readRow(db, row.seq, limits));
    } catch (thrown) {
      const verdict = classifyRead(thrown);
      if (verdict === 'passing') return 'busy';
      fx.fault = verdict.fault;
      return 'fault';
    }
    if (out === undefined) return { reason: `it is gone from ${OUTBOUND_DB}`, noun: undefined };
  }
  const found = out;
  const examined = examine(found, limits);
  if ('reason' in examined) return { reason: examined.reason, noun: NOUN[found.kind] };
  return {
    content: examined.content,
    noun: NOUN[found.kind],
    deliverAfter: found.deliverAfter,
    turn: ANSWER_ID.exec(found.id)?.[1],
    address: (now) => resolve(cell, found, targetOf(examined.content), destinations, now),
  };
}

/** The content, or why it can never be sent. */
export function examine(
  row: Pick<OutRow, 'kind' | 'content' | 'contentBytes'>,
  limits: OutboxLimits,
): { readonly content: Content } | { readonly reason: string } {
  if (row.content === undefined) return { reason: `it has ${row.contentBytes} bytes, and the limit is ${limits.maxContentBytes}` };
  try {
    return { content: parseContent(row.kind, row.content) };
  } catch (thrown) {
    if (thrown instanceof BadContentError) return { reason: thrown.message };
    throw thrown;
  }
}

export function targetOf(content: Content): number | undefined {
  return content.kind === 'edit' || content.kind === 'reaction' ? content.target : undefined;
}

/** Puts a new row of the agent's into the ledger: queued in its lane, or set aside at once. Inside the transaction of the read. */
export function enter(context: ClaimContext, row: OutRow): void {
  const { cell, destinations, limits, now, fx } = context;
  const { session, inbound: db } = cell;
  const examined = examine(row, limits);
  const needsTarget = row.kind === 'edit' || row.kind === 'reaction';
  const target = 'content' in examined ? targetOf(examined.content) : undefined;
  const resolved =
    row.kind === 'action' || (needsTarget && target === undefined) ? undefined : resolve(cell, row, target, destinations, now);
  const lane = resolved?.outcome === 'to' ? resolved.lane : NOWHERE;
  const tooLate = row.deliverAfter > now + limits.maxDelayMs;
  const notBefore = resolved?.outcome === 'wait' ? resolved.until : tooLate ? 0 : row.deliverAfter;
  ledger.queue(db, { session, seq: row.seq, lane, notBefore: notBefore > now ? notBefore : 0, now });
  fx.changed.add(row.seq);
  const dead = (reason: string, ofChat: boolean): void =>
    setAside({ session, db, limits, now, fx }, { row: { seq: row.seq, lane }, noun: NOUN[row.kind], reason, ofChat });
  if ('reason' in examined) dead(examined.reason, false);
  else if (examined.content.kind === 'action') dead(unsupportedAction(examined.content), true);
  else if (resolved?.outcome === 'refused') dead(resolved.message, true);
  else if (tooLate) dead('it asks to be sent more than a year later', true);
  else if (notBefore <= now) fx.lanes.add(lane);
}
