/**
 * Hop 7, first part: reads what delivery appended to inbound.db. Never writes it; what was settled is in the runner's own
 * acks, mirrored here in a temp table so that the filter comes before LIMIT.
 */
import {
  type AckRow,
  type AgentConfig,
  checkSkew,
  type DeliveryState,
  type DestinationRow,
  INBOUND_MIGRATIONS,
  type InboundAnswer,
  type InboundContent,
  isPassing,
  type MessageInRow,
  type MetaRow,
  type Migration,
  openInboundReader,
  type RoutingRow,
  schemaVersion,
} from '@dovecote/proto';
import type { Database, Statement } from 'better-sqlite3';
import { controlCommand } from './control-command.ts';

/** A due row, and how many turns it has already begun. */
export interface DueRow extends MessageInRow {
  readonly interrupted: number;
}

/** The rows one turn begins with, or that join it, in seq order. */
export interface Batch {
  readonly rows: readonly DueRow[];
  /** silent context older than what fits: acknowledged with the batch, mentioned to the model by number */
  readonly leftOut: readonly number[];
}

/** Where a message came from. A turn holds messages of one place only: its plain answer goes there. */
export interface Place {
  readonly channel: string | null;
  readonly chat: string | null;
  readonly thread: string | null;
}

export interface Projection {
  /** the same object until delivery writes another */
  readonly agent: AgentConfig;
  readonly destinations: readonly DestinationRow[];
  readonly routing: RoutingRow | undefined;
}

export const BATCH_ROWS = 50;
/** Characters of content after which no further row is taken into a batch. */
export const BATCH_CHARS = 200_000;
/** Silent context rows that a turn reads; older ones are only counted. */
export const CONTEXT_ROWS = 100;

const DUE = `
  FROM main.messages_in m LEFT JOIN temp.mirror a ON a.seq = m.seq
  WHERE m.status = 'pending' AND m.not_before <= :now AND m.next_try_at <= :now
    AND (a.seq IS NULL OR (a.state = 'interrupted' AND a.next_try_at <= :now))`;
const SAME_PLACE = '(m.channel IS :channel AND m.chat IS :chat AND m.thread IS :thread OR m.channel IS NULL)';

export class Inbox {
  readonly #db: Database;
  readonly #migrations: readonly Migration[];
  readonly #first: Statement;
  readonly #triggers: Statement;
  readonly #context: Statement;
  readonly #control: Statement;
  readonly #answer: Statement;
  readonly #nextDue: Statement;
  readonly #mirror: Statement;
  readonly #forget: Statement;
  readonly #highest: Statement;
  readonly #reread: Statement;
  readonly #delivery: Statement;
  readonly #agentRow: Statement;
  readonly #destinations: Statement;
  readonly #routing: Statement;
  #version: number;
  #seen = 0;
  #agent: { readonly hash: string; readonly config: AgentConfig } | undefined;

  /** Throws SQLITE_CANTOPEN until the file exists, SchemaSkewError. */
  static open(path: string, migrations: readonly Migration[] = INBOUND_MIGRATIONS): Inbox {
    return new Inbox(openInboundReader(path, migrations), migrations);
  }

  private constructor(db: Database, migrations: readonly Migration[]) {
    this.#db = db;
    this.#migrations = migrations;
    // The file itself is opened read-only; query_only would forbid the temp table too.
    db.pragma('query_only = OFF');
    db.exec(
      `CREATE TEMP TABLE mirror (seq INTEGER PRIMARY KEY, state TEXT NOT NULL, tries INTEGER NOT NULL, next_try_at INTEGER NOT NULL) STRICT`,
    );
    const columns = 'm.*, coalesce(a.tries, 0) AS interrupted';
    this.#first = db.prepare(`SELECT ${columns} ${DUE} AND m.trigger = 1 ORDER BY m.lane = 'chat', m.seq LIMIT 1`);
    this.#triggers = db.prepare(
      `SELECT ${columns} ${DUE} AND m.trigger = 1 AND coalesce(a.tries, 0) < 2 AND ${SAME_PLACE} ORDER BY m.lane = 'chat', m.seq LIMIT :limit`,
    );
    this.#context = db.prepare(
      `SELECT ${columns} ${DUE} AND m.trigger = 0 AND m.seq < :before AND coalesce(a.tries, 0) BETWEEN :least AND :most AND ${SAME_PLACE} ORDER BY m.seq`,
    );
    this.#control = db.prepare(`SELECT ${columns} ${DUE} AND m.lane = 'control' ORDER BY m.seq LIMIT 50`);
    this.#answer = db.prepare(
      `SELECT m.seq, m.sender_name, m.content ${DUE} AND m.lane = 'control' AND json_extract(m.content, '$.answer.questionId') = :questionId ORDER BY m.seq LIMIT 1`,
    );
    this.#nextDue = db
      .prepare(
        `SELECT min(max(m.not_before, m.next_try_at, coalesce(a.next_try_at, 0)))
         FROM main.messages_in m LEFT JOIN temp.mirror a ON a.seq = m.seq
         WHERE m.status = 'pending' AND m.trigger = 1 AND (a.seq IS NULL OR a.state = 'interrupted')`,
      )
      .pluck();
    this.#highest = db.prepare('SELECT coalesce(max(seq), 0) FROM main.messages_in').pluck();
    this.#mirror = db.prepare(
      `INSERT INTO temp.mirror (seq, state, tries, next_try_at) VALUES (?, ?, ?, ?)
       ON CONFLICT (seq) DO UPDATE SET state = excluded.state, tries = excluded.tries, next_try_at = excluded.next_try_at`,
    );
    this.#forget = db.prepare(
      `DELETE FROM temp.mirror WHERE state IN ('done', 'failed')
       AND EXISTS (SELECT 1 FROM main.messages_in m WHERE m.seq = mirror.seq AND m.status <> 'pending')`,
    );
    this.#reread = db.prepare('SELECT * FROM main.messages_in WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq');
    this.#delivery = db.prepare('SELECT state FROM main.delivered WHERE seq = ?').pluck();
    this.#agentRow = db.prepare('SELECT config, hash FROM main.agent WHERE id = 1');
    this.#destinations = db.prepare('SELECT * FROM main.destinations ORDER BY name');
    this.#routing = db.prepare('SELECT channel, chat, thread FROM main.routing WHERE id = 1');
    this.#version = this.#dataVersion();
  }

  /** Several reads of one state of the file: each by itself locks it and looks for a journal. */
  snapshot<T>(read: () => T): T {
    return this.#db.transaction(read)();
  }

  /** Copies the runner's own acks, so that settled rows are filtered before delivery has copied them. */
  mirror(acks: readonly AckRow[]): void {
    for (const ack of acks) this.#mirror.run(ack.in_seq, ack.state, ack.tries, ack.next_try_at);
  }

  /** Acks below this seq need no mirror: no row there is pending. */
  lowestPending(): number {
    return Number(
      this.#db.prepare("SELECT coalesce(min(seq), 9007199254740991) FROM main.messages_in WHERE status = 'pending'").pluck().get(),
    );
  }

  /** The highest seq seen. A commit of delivery's that is under way does not make the caller's own commit fail. */
  highestSeq(): number {
    const seq = unlessPassing(() => Number(this.#highest.get()));
    if (seq !== undefined) this.#seen = Math.max(seq, this.#seen);
    return this.#seen;
  }

  /**
   * True when the file changed since the last call. Throws SchemaSkewError when delivery has meanwhile brought it to a
   * version that this runner does not understand.
   */
  changed(): boolean {
    const version = this.#dataVersion();
    if (version === this.#version) return false;
    this.#version = version;
    checkSkew(schemaVersion(this.#db), this.#migrations, 'inbound.db');
    // What delivery has copied is filtered by its own status: the mirror stays as small as delivery's lag.
    this.#forget.run();
    return true;
  }

  /** Rows that a turn must begin with now. undefined: nothing is due. A row that has killed two turns comes alone. */
  next(now: number): Batch | undefined {
    const first = this.#first.get({ now }) as DueRow | undefined;
    if (first === undefined) return undefined;
    if (first.interrupted < 2) return this.#batch(now, first);
    if (controlCommand(first) !== undefined) return undefined;
    return this.#withContext(now, [first], first, { least: 1, most: 1_000 });
  }

  /** Rows that may join the running turn of that place. */
  joining(now: number, place: Place): Batch | undefined {
    return this.#batch(now, place);
  }

  #batch(now: number, place: Place): Batch | undefined {
    const found = this.#triggers.all({ now, ...placeOf(place), limit: BATCH_ROWS }) as DueRow[];
    const rows: DueRow[] = [];
    let chars = 0;
    // A command is no message: the session takes it from the control lane.
    for (const row of found.filter((candidate) => controlCommand(candidate) === undefined)) {
      chars += row.content.length;
      if (rows.length > 0 && chars > BATCH_CHARS) break;
      rows.push(row);
    }
    return rows.length === 0 ? undefined : this.#withContext(now, rows, place, { least: 0, most: 1 });
  }

  #withContext(now: number, triggers: readonly DueRow[], place: Place, tries: { least: number; most: number }): Batch {
    const before = Math.max(...triggers.map((row) => row.seq));
    const context = this.#context.all({ now, ...placeOf(place), before, ...tries }) as DueRow[];
    const kept = context.slice(-CONTEXT_ROWS);
    return {
      rows: [...triggers, ...kept].sort((a, b) => a.seq - b.seq),
      leftOut: context.slice(0, -CONTEXT_ROWS).map((row) => row.seq),
    };
  }

  /** Due rows of the control lane, silent ones too. */
  control(now: number): readonly DueRow[] {
    return this.#control.all({ now }) as DueRow[];
  }

  /** The first choice made on a question that no turn has read. */
  answerTo(questionId: string, now: number): { readonly seq: number; readonly by: string; readonly answer: InboundAnswer } | undefined {
    const row = this.#answer.get({ questionId, now }) as Pick<MessageInRow, 'seq' | 'sender_name' | 'content'> | undefined;
    const answer = row === undefined ? undefined : (JSON.parse(row.content) as InboundContent).answer;
    return row === undefined || answer === undefined ? undefined : { seq: row.seq, by: row.sender_name ?? '', answer };
  }

  /** Whether the row is a message on a platform, which can be reacted to. undefined: there is no such row. */
  isOnPlatform(seq: number): boolean | undefined {
    const [row] = this.reread([seq]);
    return row === undefined ? undefined : row.platform_message_id !== null;
  }

  /** What became of an outbound row; undefined while delivery has not taken it. */
  deliveryState(seq: number): DeliveryState | undefined {
    return this.#delivery.get(seq) as DeliveryState | undefined;
  }

  /** When the earliest waiting row becomes due, ms since 1970. undefined: none waits. */
  nextDueAt(): number | undefined {
    const at = this.#nextDue.get() as number | null | undefined;
    return at ?? undefined;
  }

  /** The rows as they are now: delivery may have applied an edit between the read and the claim. */
  reread(seqs: readonly number[]): readonly MessageInRow[] {
    return this.#reread.all(JSON.stringify(seqs)) as MessageInRow[];
  }

  meta(): MetaRow | undefined {
    return this.#db.prepare('SELECT * FROM main.meta WHERE id = 1').get() as MetaRow | undefined;
  }

  /** undefined until delivery has written the agent's row. */
  projection(): Projection | undefined {
    return this.#db.transaction(() => {
      const agent = this.#agentRow.get() as { config: string; hash: string } | undefined;
      if (agent === undefined) return undefined;
      if (this.#agent?.hash !== agent.hash) this.#agent = { hash: agent.hash, config: JSON.parse(agent.config) as AgentConfig };
      return {
        agent: this.#agent.config,
        destinations: this.#destinations.all() as DestinationRow[],
        routing: this.#routing.get() as RoutingRow | undefined,
      };
    })();
  }

  close(): void {
    this.#db.close();
  }

  #dataVersion(): number {
    return Number(this.#db.pragma('data_version', { simple: true }));
  }
}

function placeOf({ channel, chat, thread }: Place): Place {
  return { channel, chat, thread };
}

/** A read that met a commit of delivery's: the next look succeeds. Anything else is thrown. */
export function unlessPassing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (e) {
    if (isPassing(e)) return undefined;
    throw e;
  }
}
