/**
 * outbound.db: what a session has to say to the host. Writer: the runner, alone. Reader: delivery, which treats it as hostile:
 * the agent owns the folder and may have put anything there.
 */
import type { Migration } from './migrate.ts';

export const OUTBOUND_MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    sql: `
-- seq is odd: the host's are even. id is "<turn>/<step>/<n>": a resumed step that finds its row writes no other.
CREATE TABLE messages_out (
  seq INTEGER PRIMARY KEY CHECK (seq > 0 AND seq % 2 = 1),
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL CHECK (kind IN ('chat', 'file', 'edit', 'reaction', 'card', 'question', 'action')),
  destination TEXT,
  in_reply_to INTEGER,
  content TEXT NOT NULL CHECK (json_valid(content)),
  deliver_after INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  CHECK (destination IS NULL OR in_reply_to IS NULL)
) STRICT;

-- tries counts the turns that began with the row, so that a message that kills its runner is found out by the next one.
CREATE TABLE acks (
  in_seq INTEGER PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('processing', 'interrupted', 'done', 'failed')),
  turn_id TEXT NOT NULL,
  tries INTEGER NOT NULL DEFAULT 1,
  next_try_at INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX acks_open ON acks (in_seq) WHERE state IN ('processing', 'interrupted');

CREATE TABLE turns (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed')),
  provider TEXT NOT NULL,
  model TEXT,
  steps INTEGER NOT NULL DEFAULT 0,
  origin_seq INTEGER,
  error TEXT,
  started_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;
CREATE INDEX turns_running ON turns (started_at) WHERE state = 'running';

-- The transcript, written as it happens. step orders within a turn; usage is the provider's own figures.
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  turn_id TEXT NOT NULL,
  step INTEGER NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'tool')),
  content TEXT NOT NULL CHECK (json_valid(content)),
  in_seq INTEGER,
  model TEXT,
  usage TEXT CHECK (usage IS NULL OR json_valid(usage)),
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX history_turn ON history (turn_id, step);

-- Small facts that outlive a process: provider continuation, compaction summary, the tool that runs and its deadline.
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL CHECK (json_valid(value)), updated_at INTEGER NOT NULL) STRICT;
`,
  },
];

export type OutboundKindName = 'chat' | 'file' | 'edit' | 'reaction' | 'card' | 'question' | 'action';
export type AckState = 'processing' | 'interrupted' | 'done' | 'failed';
export type TurnState = 'running' | 'done' | 'stopped' | 'failed';

export interface MessageOutRow {
  readonly seq: number;
  readonly id: string;
  readonly kind: OutboundKindName;
  /** a Destination's local name; null: see in_reply_to */
  readonly destination: string | null;
  /** an inbound seq: the answer goes to that row's chat and thread; null with no destination: the session's routing */
  readonly in_reply_to: number | null;
  /** JSON, by kind: ChatContent, FileContent, EditContent, ReactionContent, CardContent, QuestionContent, ActionContent */
  readonly content: string;
  readonly deliver_after: number;
  readonly created_at: number;
}

export interface AckRow {
  readonly in_seq: number;
  readonly state: AckState;
  readonly turn_id: string;
  readonly tries: number;
  readonly next_try_at: number;
  readonly error: string | null;
  readonly at: number;
}

export interface TurnRow {
  readonly id: string;
  readonly state: TurnState;
  readonly provider: string;
  readonly model: string | null;
  readonly steps: number;
  readonly origin_seq: number | null;
  readonly error: string | null;
  readonly started_at: number;
  readonly ended_at: number | null;
}

export interface HistoryRow {
  readonly id: number;
  readonly turn_id: string;
  readonly step: number;
  readonly role: 'user' | 'assistant' | 'tool';
  /** JSON list of Block */
  readonly content: string;
  readonly in_seq: number | null;
  readonly model: string | null;
  /** JSON of Usage */
  readonly usage: string | null;
  readonly created_at: number;
}

/** One piece of a transcript message, in no provider's dialect. */
export type Block =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thinking'; readonly text: string; readonly signature?: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; readonly input: unknown }
  | { readonly type: 'tool_result'; readonly toolUseId: string; readonly text: string; readonly isError?: boolean }
  | { readonly type: 'attachment'; readonly path: string; readonly mimeType: string; readonly name: string }
  /** a block that only the provider of that name understands, returned to it unchanged */
  | { readonly type: 'opaque'; readonly provider: string; readonly value: unknown };

export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens?: number;
  readonly cacheWriteTokens?: number;
  /** part of outputTokens */
  readonly reasoningTokens?: number;
}

/** Keys of `state` that delivery reads too; their values are the agent's word and no more. */
export const STATE_TITLE = 'title';

/** A turn that stands still after a finished step, because somebody else has to change something first. */
export const STATE_HELD = 'held';

/** state.held */
export interface HeldState {
  readonly turn: string;
  /** when it is tried again, if nobody says so earlier, ms since 1970 */
  readonly until: number;
}

/** state.title: what the conversation is about, by the model */
export interface TitleState {
  readonly text: string;
}

/** One Markdown dialect in (CommonMark with tables and strikethrough), each platform's own out. */
export interface ChatContent {
  readonly text: string;
}
export interface FileContent {
  /** below the cell's out folder: outbox/<seq>/<safe name> */
  readonly path: string;
  readonly name: string;
  readonly mimeType: string;
  readonly sizeBytes: number;
  readonly text?: string;
}
export interface EditContent {
  /** seq of an own or an inbound message */
  readonly target: number;
  readonly text: string;
}
export interface ReactionContent {
  readonly target: number;
  /** a Unicode emoji */
  readonly emoji: string;
}
export interface CardContent {
  readonly title: string;
  readonly text: string;
  readonly fields?: readonly { readonly label: string; readonly value: string }[];
  readonly links?: readonly { readonly label: string; readonly url: string }[];
  /** for platforms without cards */
  readonly fallback: string;
}
export interface QuestionContent {
  readonly questionId: string;
  readonly title: string;
  readonly text: string;
  readonly options: readonly { readonly label: string; readonly value: string }[];
  /** ms since 1970 */
  readonly expiresAt: number;
}
export interface ActionContent {
  readonly action: string;
  readonly payload: unknown;
}
