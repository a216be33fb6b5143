/** One session's two real files, with hands on both sides: what the host wrote before, and what a runner writes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Channel, Destination } from '@dovecote/crds';
import {
  type AckState,
  type DeliveredRow,
  type MessageInRow,
  type MessageOutRow,
  type NoticeRow,
  OUTBOUND_DB,
  openOutboundWriter,
  platform,
} from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import type { Database } from 'better-sqlite3';
import { Registry } from 'prom-client';
import type { Clock } from '../../../lib/clock.ts';
import { noCrash, type Reached } from '../../../lib/crash-point.ts';
import { CHANNEL_OPTIONS } from '../../../lib/grpc.ts';
import { silentLog } from '../../../lib/log.ts';
import { ManualClock } from '../../../lib/manual-clock.ts';
import type { Random } from '../../../lib/random.ts';
import { ShardCells } from '../../cells/cells.ts';
import { nextSeq } from '../../cells/next-seq.ts';
import { createOutbox, type Outbox, type OutboxDeps } from '../outbox.ts';
import type { OutboxLimits } from '../outbox-limits.ts';
import { RateLimiter } from '../rate-limit.ts';

export const SESSION = 'helper-abcdefghij';
export const AGENT = 'helper';

export const evenRandom: Random = { fraction: () => 0, id: (length) => 'x'.repeat(length) };

export function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), 'dovecote-outbox-'));
}

export function destination(localName: string, chatId: string, channelRef = 'web', thread?: string): Destination {
  return {
    metadata: { name: `${AGENT}-${localName}` },
    spec: {
      agentGroupRef: AGENT,
      localName,
      target: { type: 'channel', channel: { channelRef, chatId, ...(thread !== undefined && { thread }) } },
    },
  } as Destination;
}

export function channel(name: string, spec: Partial<Channel['spec']> = {}): Channel {
  return { metadata: { name }, spec: { type: 'local', inDoubt: 'Resend', maxAttachmentBytes: '1Mi', ...spec } } as Channel;
}

export interface BenchOptions {
  readonly root: string;
  readonly address: string;
  readonly clock?: Clock;
  readonly reached?: Reached;
  readonly limits?: Partial<OutboxLimits>;
  readonly session?: string;
  readonly previewOf?: OutboxDeps['previewOf'];
}

export interface Bench {
  readonly cells: ShardCells;
  readonly outbox: Outbox;
  readonly hostile: { session: string; error: Error }[];
  readonly changed: number[];
  readonly destinations: Destination[];
  readonly channels: Map<string, Channel>;
  synced: boolean;
  close(): Promise<void>;
}

/** An outbox over a folder, as one process of delivery would run it. */
export function openBench(options: BenchOptions): Bench {
  const cells = new ShardCells({ root: options.root, maxOpen: 64 });
  const client = new platform.PlatformClient(options.address, credentials.createInsecure(), CHANNEL_OPTIONS);
  const bench = {
    cells,
    hostile: [] as { session: string; error: Error }[],
    changed: [] as number[],
    destinations: [destination('ops', 'ops-chat')],
    // A platform that takes files away, and limits nothing.
    channels: new Map([['web', channel('web', { type: 'slack', rateLimit: { perSecond: 1_000_000, burst: 1_000_000 } })]]),
    synced: true,
  };
  const clock = options.clock ?? new ManualClock();
  const channels = { get: (name: string) => bench.channels.get(name) };
  const outbox = createOutbox({
    cells,
    platform: client,
    tokens: { token: async () => 'token' },
    channels,
    limiter: new RateLimiter(channels, clock, clock.now() - 60_000), // as after a while
    destinations: {
      get hasSynced() {
        return bench.synced;
      },
      byIndex: (_, agent) => bench.destinations.filter(({ spec }) => spec.agentGroupRef === agent),
    },
    clock,
    random: evenRandom,
    log: silentLog,
    registry: new Registry(),
    reached: options.reached ?? noCrash,
    onHostile: (session, error) => bench.hostile.push({ session, error }),
    onChanged: (_, seqs) => bench.changed.push(...seqs),
    ...(options.previewOf !== undefined && { previewOf: options.previewOf }),
    ...(options.limits !== undefined && { limits: options.limits }),
  });
  return Object.assign(bench, {
    outbox,
    close: async () => {
      await outbox.close();
      client.close();
      cells.close();
    },
  });
}

export function makeCell(cells: ShardCells, session = SESSION): void {
  const { inbound } = cells.create({
    session,
    agent_group: AGENT,
    agent_group_uid: 'uid-1',
    scope: 'web/home',
    generation: 1,
    type: 'Chat',
    created_at: 1,
  });
  inbound.prepare(`INSERT OR REPLACE INTO routing (id, channel, chat) VALUES (1, 'web', 'home')`).run();
}

export function hear(cells: ShardCells, message: { chat?: string | null; thread?: string; id?: string; session?: string } = {}): number {
  const { inbound } = cells.open(message.session ?? SESSION);
  const seq = nextSeq(inbound);
  const { chat = 'home', thread = null, id = null } = message;
  inbound
    .prepare(
      `INSERT INTO messages_in (seq, event_id, lane, kind, trigger, channel, chat, thread, platform_message_id, content, created_at)
       VALUES (?, ?, 'chat', 'chat', 1, ?, ?, ?, ?, '{"text":"hello"}', 1)`,
    )
    .run(seq, `event-${seq}`, chat === null ? null : 'web', chat, thread, id);
  return seq;
}

export interface Say {
  readonly kind?: MessageOutRow['kind'];
  readonly to?: string;
  readonly replyTo?: number;
  readonly content?: unknown;
  readonly text?: string;
  readonly after?: number;
  /** of the row; "t/1/<seq>" when absent */
  readonly id?: string;
}

/** The runner's side. */
export class RunnerHand {
  readonly db: Database;
  #seq: number;

  constructor(root: string, session = SESSION) {
    this.db = openOutboundWriter(join(root, 'cells', session, 'out', OUTBOUND_DB));
    this.#seq = (this.db.prepare('SELECT coalesce(max(seq), -1) FROM messages_out').pluck().get() as number) + 2;
  }

  say({ kind = 'chat', to, replyTo, content, text = 'hi', after = 0, id }: Say): number {
    const seq = this.#seq;
    this.#seq += 2;
    this.db
      .prepare(
        `INSERT INTO messages_out (seq, id, kind, destination, in_reply_to, content, deliver_after, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, 1)`,
      )
      .run(seq, id ?? `t/1/${seq}`, kind, to ?? null, replyTo ?? null, JSON.stringify(content ?? { text }), after);
    return seq;
  }

  ack(inSeq: number, state: AckState, error: string | null = null, tries = 1, nextTryAt = 0): void {
    this.db
      .prepare(`INSERT OR REPLACE INTO acks (in_seq, state, turn_id, tries, next_try_at, error, at) VALUES (?, ?, 't', ?, ?, ?, 1)`)
      .run(inSeq, state, tries, nextTryAt, error);
  }

  close(): void {
    this.db.close();
  }
}

export function ledgerOf(cells: ShardCells, session = SESSION): DeliveredRow[] {
  return cells.open(session).inbound.prepare('SELECT * FROM delivered ORDER BY seq').all() as DeliveredRow[];
}
export function rowOf(cells: ShardCells, seq: number, session = SESSION): DeliveredRow {
  const row = ledgerOf(cells, session).find((one) => one.seq === seq);
  if (row === undefined) throw new Error(`no ledger row ${seq}`);
  return row;
}
export function messagesIn(cells: ShardCells, session = SESSION): MessageInRow[] {
  return cells.open(session).inbound.prepare('SELECT * FROM messages_in ORDER BY seq').all() as MessageInRow[];
}
export function notices(cells: ShardCells, session = SESSION): NoticeRow[] {
  return cells.open(session).inbound.prepare('SELECT * FROM notices ORDER BY seq').all() as NoticeRow[];
}

/** Waits for a condition, not for a time: lets everything run until it holds. Only a hang reaches the end. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const end = performance.now() + 120_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2)); // not at each turn of the loop: looking would take the time from what is looked for
  }
}

export function remove(root: string): void {
  rmSync(root, { recursive: true, force: true });
}
