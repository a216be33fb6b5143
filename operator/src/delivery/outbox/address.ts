/**
 * Where a row goes, and whether it may. Asked anew at every delivery, not only when the row was written: a Destination that was
 * removed meanwhile is a permission that was taken back.
 */
import type { Channel, Destination } from '@dovecote/crds';
import type { RoutingRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { chatScope } from '../../lib/scope.ts';
import type { Cell } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import * as ledger from './ledger.ts';
import type { OutRow } from './read-outbound.ts';

/** The resources this hop looks at. A ResourceCache with that index is one. */
export interface Destinations {
  readonly hasSynced: boolean;
  byIndex(index: 'agentGroup', agentGroup: string): readonly Destination[];
}
export interface Channels {
  get(name: string): Channel | undefined;
}

export interface Address {
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
}

export type Resolved =
  | {
      readonly outcome: 'to';
      readonly address: Address;
      readonly lane: string;
      /** the platform's id of what is edited or reacted to */
      readonly targetMessageId: string;
      /** the platform's id of what is answered */
      readonly replyToMessageId: string;
      readonly traceparent: string;
    }
  /** reads "…: <message>" */
  | { readonly outcome: 'refused'; readonly message: string }
  | { readonly outcome: 'wait'; readonly until: number };

/** How soon to ask again for what is not there yet. */
const ASK_AGAIN_MS = 1_000;

/** The lane of a row that leads nowhere. */
export const NOWHERE = laneOf({ channel: '', chat: '', thread: null });

export function laneOf({ channel, chat, thread }: Address): string {
  return chatScope(channel, chat, thread ?? undefined);
}

/** `target` is the seq that an edit or a reaction is about. */
export function resolve(
  cell: Pick<Cell, 'inbound' | 'meta'>,
  row: Pick<OutRow, 'seq' | 'destination' | 'inReplyTo'>,
  target: number | undefined,
  destinations: Destinations,
  now: number,
): Resolved {
  // An empty cache permits nothing: that must not be taken for a permission withdrawn.
  if (!destinations.hasSynced) return { outcome: 'wait', until: now + ASK_AGAIN_MS };
  if (target !== undefined) return resolveTarget(cell, row.seq, target, destinations, now);
  if (row.destination !== null) return resolveDestination(cell.meta.agent_group, row.destination, destinations);
  if (row.inReplyTo !== null) {
    const asked = ledger.inbound(cell.inbound, row.inReplyTo);
    if (asked === undefined) return { outcome: 'refused', message: `there is no message ${row.inReplyTo} to answer` };
    if (asked.channel !== null && asked.chat !== null) {
      return to(
        { channel: asked.channel, chat: asked.chat, thread: asked.thread },
        { replyToMessageId: asked.platform_message_id ?? '', traceparent: asked.traceparent ?? '' },
      );
    }
  }
  const routing = routingOf(cell.inbound);
  return routing === undefined ? { outcome: 'refused', message: 'this session has no chat to answer in; name a destination' } : to(routing);
}

/** Where an answer to inbound row `inReplyTo` would go (0: to nothing in particular); undefined: nowhere, or not known yet. */
export function answeredChat(
  cell: Pick<Cell, 'inbound' | 'meta'>,
  inReplyTo: number,
  destinations: Destinations,
  now: number,
): (Address & { readonly replyToMessageId: string }) | undefined {
  const row = { seq: 0, destination: null, inReplyTo: inReplyTo === 0 ? null : inReplyTo };
  const resolved = resolve(cell, row, undefined, destinations, now);
  return resolved.outcome === 'to' ? { ...resolved.address, replyToMessageId: resolved.replyToMessageId } : undefined;
}

function resolveDestination(agentGroup: string, name: string, destinations: Destinations): Resolved {
  const destination = destinations.byIndex('agentGroup', agentGroup).find(({ spec }) => spec.localName === name);
  if (destination === undefined || destination.metadata.deletionTimestamp !== undefined)
    return { outcome: 'refused', message: `there is no destination ${JSON.stringify(name)}` };
  const address = addressOf(destination);
  if (address === undefined)
    return { outcome: 'refused', message: `destination ${JSON.stringify(name)} is another agent, which cannot be written to yet` };
  return to(address);
}

function addressOf({ spec }: Destination): Address | undefined {
  const chat = spec.target.channel;
  return chat === undefined ? undefined : { channel: chat.channelRef, chat: chat.chatId, thread: chat.thread ?? null };
}

/** An edit or a reaction goes where the message is that it is about. */
function resolveTarget(
  cell: Pick<Cell, 'inbound' | 'meta'>,
  seq: number,
  target: number,
  destinations: Destinations,
  now: number,
): Resolved {
  const unknown: Resolved = { outcome: 'refused', message: `there is no message ${target} in a chat` };
  if (target % 2 === 0) {
    const row = ledger.inbound(cell.inbound, target);
    if (row === undefined || row.channel === null || row.chat === null || row.platform_message_id === null) return unknown;
    return to({ channel: row.channel, chat: row.chat, thread: row.thread }, { targetMessageId: row.platform_message_id });
  }
  const own = target < seq ? ledger.find(cell.inbound, target) : undefined;
  if (own === undefined) return unknown;
  const address = parseLane(own.lane);
  if (own.state === 'dead') return { outcome: 'refused', message: `message ${target} was never delivered` };
  if (!mayReach(cell, address, destinations))
    return { outcome: 'refused', message: `there is no destination any more for the chat of message ${target}` };
  // In one lane a message is always delivered before what is about it; only one that was asked for later is not.
  if (own.state !== 'delivered') {
    const later = own.state === 'queued' && own.attempts === 0 && own.next_attempt_at > now;
    return later ? { outcome: 'wait', until: own.next_attempt_at } : to(address); // its lane is all that counts until then
  }
  if (own.platform_message_id === null) return { outcome: 'refused', message: `the platform gave message ${target} no id` };
  return to(address, { targetMessageId: own.platform_message_id });
}

/** Whether the agent may write there at all: a Destination, the chat of a message that it got, or the session's own chat. */
function mayReach({ inbound, meta }: Pick<Cell, 'inbound' | 'meta'>, address: Address, destinations: Destinations): boolean {
  const lane = laneOf(address);
  const routing = routingOf(inbound);
  if (routing !== undefined && laneOf(routing) === lane) return true;
  const { channel, chat, thread } = address;
  // `trigger = 1` is what the index is for.
  const heard = prepared(inbound, 'SELECT 1 FROM messages_in WHERE channel = ? AND chat = ? AND thread IS ? AND trigger = 1 LIMIT 1').get(
    channel,
    chat,
    thread,
  );
  if (heard !== undefined) return true;
  return destinations.byIndex('agentGroup', meta.agent_group).some((destination) => {
    const there = destination.metadata.deletionTimestamp === undefined ? addressOf(destination) : undefined;
    return there !== undefined && laneOf(there) === lane;
  });
}

export function parseLane(lane: string): Address {
  const [channel = '', chat = '', thread = null] = lane.split('/').map(decodeURIComponent);
  return { channel, chat, thread };
}

function routingOf(db: Database): RoutingRow | undefined {
  return prepared(db, 'SELECT channel, chat, thread FROM routing').get() as RoutingRow | undefined;
}

function to(
  address: Address,
  {
    targetMessageId = '',
    replyToMessageId = '',
    traceparent = '',
  }: { targetMessageId?: string; replyToMessageId?: string; traceparent?: string } = {},
): Resolved {
  return { outcome: 'to', address, lane: laneOf(address), targetMessageId, replyToMessageId, traceparent };
}
