/**
 * inbound.db: what the host has to say to a session. Writer: delivery, alone. Reader: the runner (its mount is read-only).
 * Also the ledger of what was done with the runner's outbound rows, because only the host may write it.
 */
import type { Migration } from './migrate.ts';

export const INBOUND_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    sql: `
-- Who this cell belongs to. A cell is adoptable from its own files alone.
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  session TEXT NOT NULL,
  agent_group TEXT NOT NULL,
  agent_group_uid TEXT NOT NULL,
  scope TEXT NOT NULL,
  generation INTEGER NOT NULL,
  type TEXT NOT NULL,
  title TEXT,
  created_at INTEGER NOT NULL
) STRICT;

-- seq is even: the runner's are odd, so one number names a row over both files.
CREATE TABLE messages_in (
  seq INTEGER PRIMARY KEY CHECK (seq > 0 AND seq % 2 = 0),
  event_id TEXT NOT NULL UNIQUE,
  lane TEXT NOT NULL CHECK (lane IN ('chat', 'control')),
  kind TEXT NOT NULL CHECK (kind IN ('chat', 'task', 'webhook', 'system', 'on_wake')),
  trigger INTEGER NOT NULL CHECK (trigger IN (0, 1)),
  channel TEXT, chat TEXT, thread TEXT,
  sender TEXT, sender_name TEXT,
  platform_message_id TEXT,
  content TEXT NOT NULL CHECK (json_valid(content)),
  reply_to TEXT CHECK (reply_to IS NULL OR json_valid(reply_to)),
  not_before INTEGER NOT NULL DEFAULT 0,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'dead')),
  tries INTEGER NOT NULL DEFAULT 0,
  next_try_at INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  reason TEXT,
  traceparent TEXT,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_in_pending ON messages_in (seq) WHERE status = 'pending';
CREATE INDEX messages_in_platform ON messages_in (platform_message_id) WHERE platform_message_id IS NOT NULL;
CREATE INDEX messages_in_engaged ON messages_in (channel, chat, thread) WHERE trigger = 1;

-- What the host itself has to tell people (a dead letter, a full queue): delivered by the same ledger. seq as in messages_in.
CREATE TABLE notices (
  seq INTEGER PRIMARY KEY CHECK (seq > 0 AND seq % 2 = 0),
  id TEXT NOT NULL UNIQUE,
  channel TEXT NOT NULL, chat TEXT NOT NULL, thread TEXT,
  content TEXT NOT NULL CHECK (json_valid(content)),
  created_at INTEGER NOT NULL
) STRICT;

-- The ledger: one row per outbound row (odd: messages_out, even: notices).
-- lane is "channel/chat/thread": rows of one lane are sent in seq order, lanes do not wait for each other.
CREATE TABLE delivered (
  seq INTEGER PRIMARY KEY CHECK (seq > 0),
  lane TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'sending', 'delivered', 'failed', 'dead', 'in_doubt')),
  part INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  first_attempt_at INTEGER,
  next_attempt_at INTEGER NOT NULL DEFAULT 0,
  last_error TEXT,
  platform_message_id TEXT,
  part_ids TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(part_ids)),
  idempotency_key TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX delivered_open ON delivered (lane, seq) WHERE state NOT IN ('delivered', 'dead');
CREATE INDEX delivered_platform ON delivered (platform_message_id) WHERE platform_message_id IS NOT NULL;

-- Projections of custom resources, rewritten when those change, in mid-session too.
CREATE TABLE agent (id INTEGER PRIMARY KEY CHECK (id = 1), config TEXT NOT NULL CHECK (json_valid(config)), hash TEXT NOT NULL) STRICT;
CREATE TABLE destinations (
  name TEXT PRIMARY KEY,
  type TEXT NOT NULL CHECK (type IN ('channel', 'agent')),
  channel TEXT, chat TEXT, thread TEXT,
  agent_group TEXT,
  display_name TEXT
) STRICT;
-- Where an answer goes that replies to nothing in particular.
CREATE TABLE routing (id INTEGER PRIMARY KEY CHECK (id = 1), channel TEXT NOT NULL, chat TEXT NOT NULL, thread TEXT) STRICT;
`,
  },
  {
    version: 2,
    sql: `
-- Questions as they went out: what a button may choose is decided here, never by what a platform sends back. seq is the
-- outbound row's; answer_seq is the inbound row that holds the choice. Stays open until it is answered, however late.
CREATE TABLE questions (
  seq INTEGER PRIMARY KEY,
  question_id TEXT NOT NULL UNIQUE,
  channel TEXT NOT NULL, chat TEXT NOT NULL, thread TEXT,
  title TEXT NOT NULL, text TEXT NOT NULL,
  options TEXT NOT NULL CHECK (json_valid(options)),
  answer_seq INTEGER,
  option INTEGER,
  answered_by TEXT,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX questions_open ON questions (channel, chat, thread) WHERE answer_seq IS NULL;

-- Answers that were shown while they were written, one per turn: the message that the answer itself must take the place of.
-- posting: the call that makes it may have left. shown: it stands there. taken: the answer is in its place. gone: removed.
CREATE TABLE previews (
  turn_id TEXT PRIMARY KEY,
  channel TEXT NOT NULL, chat TEXT NOT NULL, thread TEXT,
  state TEXT NOT NULL CHECK (state IN ('posting', 'shown', 'taken', 'gone')),
  platform_message_id TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX previews_open ON previews (created_at) WHERE state IN ('posting', 'shown');
`,
  },
];

export type InboundStatus = 'pending' | 'done' | 'dead';
export type DeliveryState = 'queued' | 'sending' | 'delivered' | 'failed' | 'dead' | 'in_doubt';
export type InboundKindName = 'chat' | 'task' | 'webhook' | 'system' | 'on_wake';
export type LaneName = 'chat' | 'control';

export interface MetaRow {
  readonly session: string;
  readonly agent_group: string;
  readonly agent_group_uid: string;
  readonly scope: string;
  readonly generation: number;
  readonly type: string;
  readonly title: string | null;
  /** ms since 1970, UTC, as every `_at` */
  readonly created_at: number;
}

export interface MessageInRow {
  readonly seq: number;
  readonly event_id: string;
  readonly lane: LaneName;
  readonly kind: InboundKindName;
  readonly trigger: 0 | 1;
  readonly channel: string | null;
  readonly chat: string | null;
  readonly thread: string | null;
  readonly sender: string | null;
  readonly sender_name: string | null;
  readonly platform_message_id: string | null;
  /** JSON of InboundContent */
  readonly content: string;
  /** JSON of Quoted */
  readonly reply_to: string | null;
  readonly not_before: number;
  readonly status: InboundStatus;
  readonly tries: number;
  readonly next_try_at: number;
  readonly last_error: string | null;
  readonly reason: string | null;
  readonly traceparent: string | null;
  readonly created_at: number;
}

export interface NoticeRow {
  readonly seq: number;
  readonly id: string;
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
  /** JSON of ChatContent */
  readonly content: string;
  readonly created_at: number;
}

export interface DeliveredRow {
  readonly seq: number;
  readonly lane: string;
  readonly state: DeliveryState;
  /** the part that is sent next, of a text that was split */
  readonly part: number;
  readonly attempts: number;
  readonly first_attempt_at: number | null;
  readonly next_attempt_at: number;
  readonly last_error: string | null;
  /** of the first part */
  readonly platform_message_id: string | null;
  /** JSON list: the platform's id of every part sent */
  readonly part_ids: string;
  readonly idempotency_key: string;
  readonly created_at: number;
  readonly updated_at: number;
}

export interface DestinationRow {
  readonly name: string;
  readonly type: 'channel' | 'agent';
  readonly channel: string | null;
  readonly chat: string | null;
  readonly thread: string | null;
  readonly agent_group: string | null;
  readonly display_name: string | null;
}

export interface RoutingRow {
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
}

export interface QuestionRow {
  /** of the outbound row */
  readonly seq: number;
  readonly question_id: string;
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
  readonly title: string;
  readonly text: string;
  /** JSON list of {label, value} */
  readonly options: string;
  /** the inbound row with the choice; null while it is open */
  readonly answer_seq: number | null;
  /** index of the choice */
  readonly option: number | null;
  /** display name */
  readonly answered_by: string | null;
  readonly created_at: number;
}

export type PreviewState = 'posting' | 'shown' | 'taken' | 'gone';

export interface PreviewRow {
  readonly turn_id: string;
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
  readonly state: PreviewState;
  readonly platform_message_id: string | null;
  readonly created_at: number;
  readonly updated_at: number;
}

/** Text of a row of delivery's own in the control lane: why a provider refused may be over, so what waits for that is tried at once. */
export const RETRY = '/retry';

/** messages_in.content */
export interface InboundContent {
  readonly text: string;
  /** the row is a choice made on a question; `text` is the chosen label. Lane control, trigger 1 */
  readonly answer?: InboundAnswer;
  readonly attachments?: readonly InboundAttachment[];
  /** one sentence per attachment that was refused */
  readonly attachmentErrors?: readonly string[];
  /** the platform message was edited before any turn read it */
  readonly edited?: true;
}

export interface InboundAnswer {
  readonly questionId: string;
  /** seq of the question's outbound row */
  readonly questionSeq: number;
  readonly title: string;
  readonly value: string;
  readonly label: string;
}

export interface InboundAttachment {
  /** as people see it */
  readonly name: string;
  /** below the cell's in folder: attachments/<seq>/<safe name> */
  readonly path: string;
  readonly mimeType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** messages_in.reply_to */
export interface Quoted {
  readonly senderName: string;
  readonly text: string;
  /** the seq under which the model knows it, when it does */
  readonly seq?: number;
}

/** agent.config: all that the runner needs of its AgentGroup. Holds no credential. */
export interface AgentConfig {
  readonly name: string;
  readonly displayName?: string;
  readonly provider: string;
  /** absent: the provider's default */
  readonly model?: string;
  readonly effort: 'low' | 'medium' | 'high' | 'max';
  readonly instructions: string;
  /** absent: all tools */
  readonly tools?: readonly string[];
  readonly maxSteps: number;
  readonly turnTimeoutMs: number;
  readonly noProgressTimeoutMs: number;
  /** show the model's thinking budget as the provider allows; absent: as the provider does by itself */
  readonly thinking?: 'off' | 'adaptive';
  /** the model API is the provider's public one, which compacts long conversations itself where the model can */
  readonly serverCompaction?: boolean;
  /** partial answers are reported while they are written */
  readonly streaming?: boolean;
  /** sorted by name; absent: none */
  readonly mcpServers?: readonly McpServerConfig[];
  /** hosts that its tools may reach through the proxy, `*.` for all below; absent or empty: none */
  readonly allowedHosts?: readonly string[];
}

/** An MCP server as the runner may know it: addresses and credentials of remote ones stay with the proxy. */
export interface McpServerConfig {
  readonly name: string;
  /** http: reached at `<proxy>/mcp/<name>` */
  readonly type: 'stdio' | 'http';
  /** of stdio */
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** names of its tools that the agent may use; absent: all */
  readonly tools?: readonly string[];
  /** how long one call may take, ms */
  readonly timeoutMs: number;
}
