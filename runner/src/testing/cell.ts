/** A cell on disk as delivery would make and fill it. For tests only. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AckRow,
  type AgentConfig,
  type HistoryRow,
  INBOUND_MIGRATIONS,
  type InboundContent,
  type MessageInRow,
  type MessageOutRow,
  type Migration,
  openInboundWriter,
  type TurnRow,
  type Usage,
} from '@dovecote/proto';
import Sqlite, { type Database } from 'better-sqlite3';

export const AGENT: AgentConfig = {
  name: 'helper',
  provider: 'demo',
  effort: 'medium',
  instructions: 'Be brief.',
  maxSteps: 50,
  turnTimeoutMs: 1_800_000,
  noProgressTimeoutMs: 120_000,
};

export type NewMessage = Partial<Omit<MessageInRow, 'content'>> & { readonly content?: Partial<InboundContent> };

export class TestCell {
  readonly root: string;
  readonly in: string;
  readonly out: string;
  readonly workspace: string;
  readonly home: string;
  readonly inbound: Database;

  constructor(
    options: {
      readonly agent?: Partial<AgentConfig>;
      readonly scope?: string;
      readonly type?: string;
      readonly migrations?: readonly Migration[];
    } = {},
  ) {
    this.root = mkdtempSync(join(tmpdir(), 'dovecote-runner-'));
    this.in = join(this.root, 'in');
    this.out = join(this.root, 'out');
    this.workspace = join(this.root, 'workspace');
    this.home = join(this.root, 'home');
    for (const folder of [this.in, this.out, this.workspace, this.home]) mkdirSync(folder);
    this.inbound = openInboundWriter(this.inboundPath, options.migrations ?? INBOUND_MIGRATIONS);
    this.inbound
      .prepare("INSERT INTO meta VALUES (1, 'helper-abc', 'helper', 'uid-1', ?, 1, ?, NULL, 1000)")
      .run(options.scope ?? 'local/c1', options.type ?? 'chat');
    this.inbound.prepare("INSERT INTO routing VALUES (1, 'local', 'c1', NULL)").run();
    this.setAgent(options.agent ?? {});
  }

  get inboundPath(): string {
    return join(this.in, 'inbound.db');
  }
  get outboundPath(): string {
    return join(this.out, 'outbound.db');
  }

  setAgent(agent: Partial<AgentConfig>): void {
    const config = JSON.stringify({ ...AGENT, ...agent });
    this.inbound.prepare('INSERT OR REPLACE INTO agent VALUES (1, ?, ?)').run(config, config.length.toString());
  }

  addDestination(name: string, chat: string, displayName: string | null = null): void {
    this.inbound.prepare("INSERT INTO destinations VALUES (?, 'channel', 'local', ?, NULL, NULL, ?)").run(name, chat, displayName);
  }

  /** Appends a chat message of Ann's in chat c1, unless told otherwise; returns its seq. */
  say(text: string, message: NewMessage = {}): number {
    const seq = message.seq ?? Number(this.inbound.prepare('SELECT coalesce(max(seq), 0) + 2 FROM messages_in').pluck().get());
    this.inbound
      .prepare(
        `INSERT INTO messages_in (seq, event_id, lane, kind, trigger, channel, chat, thread, sender, sender_name, content, reply_to, not_before, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        seq,
        `event-${seq}`,
        message.lane ?? 'chat',
        message.kind ?? 'chat',
        message.trigger ?? 1,
        message.channel === undefined ? 'local' : message.channel,
        message.chat === undefined ? 'c1' : message.chat,
        message.thread ?? null,
        'u1',
        message.sender_name === undefined ? 'Ann' : message.sender_name,
        JSON.stringify({ text, ...message.content }),
        message.reply_to ?? null,
        message.not_before ?? 0,
        message.created_at ?? 1_780_000_000_000,
      );
    return seq;
  }

  /** Copies acks into messages_in.status, as delivery does. */
  copyAcks(): void {
    for (const ack of this.acks())
      if (ack.state === 'done' || ack.state === 'failed')
        this.inbound.prepare('UPDATE messages_in SET status = ? WHERE seq = ?').run(ack.state === 'done' ? 'done' : 'dead', ack.in_seq);
  }

  acks(): readonly AckRow[] {
    return this.#read('SELECT * FROM acks ORDER BY in_seq') as AckRow[];
  }
  sent(): readonly MessageOutRow[] {
    return this.#read('SELECT * FROM messages_out ORDER BY seq') as MessageOutRow[];
  }
  /** Texts of the chat rows. */
  texts(): readonly string[] {
    return this.sent().flatMap((row) => (row.kind === 'chat' ? [(JSON.parse(row.content) as { text: string }).text] : []));
  }
  /** The transcript. */
  history(): readonly HistoryRow[] {
    return this.#read('SELECT h.* FROM history h JOIN turns t ON t.id = h.turn_id ORDER BY h.id') as HistoryRow[];
  }
  /** Every answer of the model, titles and summaries too. */
  usages(): readonly Usage[] {
    const rows = this.#read('SELECT usage FROM history WHERE usage IS NOT NULL ORDER BY id') as { usage: string }[];
    return rows.map(({ usage }) => JSON.parse(usage) as Usage);
  }
  turns(): readonly TurnRow[] {
    return this.#read('SELECT * FROM turns ORDER BY started_at') as TurnRow[];
  }
  state(key: string): unknown {
    const [row] = this.#read(`SELECT value FROM state WHERE key = '${key}'`) as { value: string }[];
    return row === undefined ? undefined : JSON.parse(row.value);
  }

  /** Reads while a runner may be writing: a read that meets a commit or a killed runner's journal sees nothing. */
  #read(sql: string): unknown[] {
    try {
      const db = new Sqlite(this.outboundPath, { readonly: true, fileMustExist: true, timeout: 5_000 });
      try {
        return db.prepare(sql).all();
      } finally {
        db.close();
      }
    } catch (e) {
      // By code, not by class: each test file has a class of its own, the native module only the first.
      if (/^SQLITE_(CANTOPEN|READONLY|BUSY|ERROR)/.test(String((e as { code?: unknown }).code))) return [];
      throw e;
    }
  }

  remove(): void {
    this.inbound.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
