/**
 * Hop 2 and hop 8 of a message: what the gateway knows of a platform. A folder beside this file is one platform; everything
 * before and behind it (signatures' bytes, routing, durability, the ledger) is the same for all.
 */
import type { Channel } from '@dovecote/crds';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { PlatformDialect } from '../render/dialect.ts';
import type { ButtonPointer } from './button.ts';

export type ChatClass = 'Direct' | 'Group';

/** A file that came with a message. Nothing of it has been fetched yet. */
export interface IncomingAttachment {
  readonly name: string;
  readonly mimeType: string;
  /** 0: the platform does not say */
  readonly sizeBytes: number;
  /** Starts the download. May be called several times (once for each agent). Rejects with a sentence that a person may read. */
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** It was given to shards ahead of the message, once for each of these agents: nothing is downloaded any more. */
  readonly staged?: readonly StagedFor[];
}

/** Where a file waits for the message that names it. Goes through the hands of a web page, so none of it is to be believed. */
export interface StagedFor {
  readonly agentGroup: string;
  readonly shard: string;
  readonly stagedId: string;
}

interface Incoming {
  /** The same for every redelivery of the same thing, on every replica: what the inbox dedupes by. Starts with the Channel's name. */
  readonly eventId: string;
  readonly chat: string;
  readonly chatClass: ChatClass;
  /** Empty: none. */
  readonly thread: string;
  /** The thread that an answer to this message would open, on platforms where a message can become a thread. Empty: none. */
  readonly opensThread: string;
  readonly sender: string;
  readonly senderName: string;
  /** Another bot. Two bots that answer each other never end: it must be a known sender to be heard. */
  readonly senderIsBot: boolean;
  readonly platformMessageId: string;
  /** ms since 1970, of the platform if it says so */
  readonly sentAtMs: number;
}

export interface IncomingMessage extends Incoming {
  readonly type: 'message';
  readonly text: string;
  /** The account is named in the text, or the message answers one of its own. */
  readonly mentioned: boolean;
  readonly attachments: readonly IncomingAttachment[];
  readonly quoted?: { readonly platformMessageId: string; readonly senderName: string; readonly text: string };
}

/** The platform says that an earlier message, `platformMessageId`, is different now. */
export interface IncomingEdit extends Incoming {
  readonly type: 'edited';
  readonly text: string;
}

export interface IncomingDeletion extends Incoming {
  readonly type: 'deleted';
}

/**
 * Someone pressed a button of the question `platformMessageId`. What the button says is a pointer that came back through the
 * platform: delivery decides whether it counts.
 */
export interface IncomingAnswer extends Incoming, ButtonPointer {
  readonly type: 'answer';
  /** Where the platform waits to hear that the press was seen. Empty: it does not. */
  readonly pressId: string;
}

export interface PressResponse {
  readonly sentence: string;
  /** The question's message will say so too: a platform that waits for no response needs none. */
  readonly shown: boolean;
}

export type IncomingEvent = IncomingMessage | IncomingEdit | IncomingDeletion | IncomingAnswer;

/** Where received events go. Resolves when all of them are durable; rejects when the platform must send them again. */
export type Sink = (events: readonly IncomingEvent[]) => Promise<void>;

/** A webhook call as it came, before anyone believed it. */
export interface WebhookCall {
  /** The very bytes that were signed. */
  readonly rawBody: Buffer;
  /** Lower-case name; undefined when absent or sent twice. */
  header(name: string): string | undefined;
}

export type WebhookVerdict =
  /** The signature is missing, wrong or too old. Nothing was parsed. */
  | { readonly type: 'forged'; readonly message: string }
  | { readonly type: 'malformed'; readonly message: string }
  /** A handshake: answered with this body and nothing else. */
  | { readonly type: 'answer'; readonly contentType: string; readonly body: string }
  /** May be empty: a kind of event that means nothing to us. */
  | { readonly type: 'events'; readonly events: readonly IncomingEvent[] };

/** What is sent in one platform call. Text is in the platform's own dialect and within its limit. */
export type Outgoing =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'file';
      readonly name: string;
      readonly mimeType: string;
      readonly sizeBytes: number;
      /** Read once, to its end. */
      readonly bytes: AsyncIterable<Uint8Array>;
      /** Empty: none. */
      readonly caption: string;
    }
  | { readonly kind: 'edit'; readonly target: string; readonly text: string }
  /** `emoji` is a Unicode emoji. */
  | { readonly kind: 'reaction'; readonly target: string; readonly emoji: string }
  | { readonly kind: 'question'; readonly text: string; readonly buttons: readonly Button[] }
  /** `text` is all of it, for platforms that lay out no cards, and for a card that is too much for one that does. */
  | { readonly kind: 'card'; readonly text: string; readonly card: Card };

export interface Button {
  /** At most 75 characters of plain text. */
  readonly label: string;
  /** At most 64 bytes of ASCII, which come back when it is pressed. */
  readonly data: string;
}

/** Text is Markdown, but for the title and the labels. */
export interface Card {
  readonly title: string;
  readonly text: string;
  readonly fields: readonly { readonly label: string; readonly value: string }[];
  readonly links: readonly { readonly label: string; readonly url: string }[];
  /** The agent's own words for where only text is shown, such as a notification. */
  readonly fallback: string;
}

export interface Delivery<O extends Outgoing = Outgoing> {
  readonly chat: string;
  /** Empty: none. */
  readonly thread: string;
  /** Platform id of the message that is answered, for platforms that quote. Empty: none. */
  readonly replyTo: string;
  /** Goes with the message where the platform can carry it, so that `settle` finds it again. */
  readonly idempotencyKey: string;
  readonly outgoing: O;
}

export type Outcome =
  | { readonly type: 'delivered'; readonly platformMessageId: string }
  /** Not sent, worth another try. `afterMs` 0: the ledger's own backoff. `maybeSent`: it left, and no answer came. */
  | {
      readonly type: 'retry';
      readonly reason: RetryReason;
      readonly message: string;
      readonly afterMs: number;
      readonly maybeSent: boolean;
    }
  /** Not sent and never will be. */
  | { readonly type: 'refused'; readonly reason: RefusedReason; readonly message: string };

export const RetryReason = {
  /** The platform said 429, or our own bucket is empty. */
  RateLimited: 'RateLimited',
  /** The platform said 5xx. */
  Unavailable: 'Unavailable',
  /** No connection was made: nothing left this process. */
  Unreachable: 'Unreachable',
  /** It left and no answer came in time, or the connection broke. */
  NoAnswer: 'NoAnswer',
  /** The Channel does not exist here, or has not connected yet. */
  NoAdapter: 'NoAdapter',
  /** The credentials are refused: someone may mend them. */
  Unauthorized: 'Unauthorized',
  /** The channel's code failed in a way that nobody thought of. */
  Internal: 'Internal',
} as const;
export type RetryReason = (typeof RetryReason)[keyof typeof RetryReason];

export const RefusedReason = {
  /** The chat or the message is gone, or never was. */
  NotFound: 'NotFound',
  /** The bot was removed, blocked, or lacks a right. */
  Forbidden: 'Forbidden',
  /** The platform finds the message itself wrong. */
  Invalid: 'Invalid',
  TooLarge: 'TooLarge',
  /** The platform has no such thing. */
  Unsupported: 'Unsupported',
} as const;
export type RefusedReason = (typeof RefusedReason)[keyof typeof RefusedReason];

/** Whether a message whose record was lost has been sent. */
export type Settlement =
  | { readonly type: 'sent'; readonly platformMessageId: string }
  | { readonly type: 'not-sent' }
  /** This platform offers no way to know. */
  | { readonly type: 'unknowable' }
  | { readonly type: 'try-later' };

/** A file's bytes cannot be read back, so settling goes by everything else. */
export type SettleableOutgoing = Exclude<Outgoing, { kind: 'file' }> | Omit<Extract<Outgoing, { kind: 'file' }>, 'bytes'>;

export interface SettleQuestion {
  readonly delivery: Omit<Delivery, 'outgoing'> & { readonly outgoing: SettleableOutgoing };
  /** ms since 1970, by delivery's clock, which is not the platform's. */
  readonly firstAttemptAtMs: number;
}

/** What people and other code may know of a platform without an account on it. */
export interface ChannelInfo {
  readonly type: Channel['spec']['type'];
  /** The platform's words, for people. */
  readonly terminology: { readonly chat: string; readonly thread: string; readonly account: string };
  /** One sentence: where a person finds the ids that chatId and knownSenders want. */
  readonly howToFindIds: string;
  readonly supports: {
    readonly threads: boolean;
    readonly edits: boolean;
    readonly reactions: boolean;
    readonly files: boolean;
    readonly buttons: boolean;
    readonly typing: boolean;
  };
  /** The engage and session modes that suit a group there. */
  readonly defaultIsolation: 'Shared' | 'PerThread';
  /** How long the platform waits for the answer to a webhook before it sends again; we answer 503 earlier. */
  readonly ackBudgetMs: number;
}

/** One account on one platform, connected: its credentials have been accepted. Every replica holds one of each Channel. */
export interface ConnectedChannel {
  readonly info: ChannelInfo;
  /** Who we are there, as a person would say it. */
  readonly account: string;
  readonly dialect: PlatformDialect;
  /** Present when the platform calls us. Checks the signature on the raw bytes before anything else. */
  readonly webhook?: (call: WebhookCall) => Promise<WebhookVerdict>;
  /**
   * Present when we hold a connection or ask for updates: at most one replica runs it. Calls `up` each time events can come in.
   * Resolves when `signal` aborts, after the events in hand have been given to `sink` and acknowledged; rejects when the
   * connection cannot go on.
   */
  readonly listen?: (sink: Sink, signal: AbortSignal, up: () => void) => Promise<void>;
  /** Asks the platform whether we are still who we were. Rejects when it says no or does not answer. */
  verify(signal: AbortSignal): Promise<void>;
  /** One platform call. Never rejects for what a platform did; after `close`, answers retry. */
  deliver(delivery: Delivery, signal: AbortSignal): Promise<Outcome>;
  settle(question: SettleQuestion, signal: AbortSignal): Promise<Settlement>;
  /** Present where messages of ours can be changed and removed: an answer is then shown while it is written, by text and edit. */
  readonly preview?: {
    /** How long one message of this chat is left alone between two changes, ms. */
    everyMs(chat: string): number;
    /** Removes a message of ours. Never rejects for what a platform did; refused: it is not there, or not ours to remove. */
    remove(chat: string, messageId: string, signal: AbortSignal): Promise<Outcome>;
  };
  /** Best effort: rejects freely. */
  typing(chat: string, thread: string, signal: AbortSignal): Promise<void>;
  /** Tells whoever pressed a button, and nobody else, what came of it. Best effort: rejects freely. */
  readonly respond?: (press: IncomingAnswer, response: PressResponse, signal: AbortSignal) => Promise<void>;
  /** Ends what it holds. Twice is harmless. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly name: string;
  readonly spec: Channel['spec'];
  /** The values of the Secret that the spec names; empty when it names none. */
  readonly credentials: Readonly<Record<string, string>>;
  /** Where the platform can reach us, such as https://bots.example.com; undefined: someone else registers the webhook. */
  readonly publicUrl?: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly onOwnMessage: () => void;
}

/**
 * Makes a connection. Rejects with TerminalError (reason Unauthorized, SecretKeyMissing or Invalid) when only a new Secret or spec
 * can help, with anything else when another try may.
 */
export interface ChannelType {
  readonly info: ChannelInfo;
  connect(options: ConnectOptions, signal: AbortSignal): Promise<ConnectedChannel>;
}

/** The name of the Secret that a Channel wants, or undefined. */
export function credentialsOf(spec: Channel['spec']): string | undefined {
  return (spec.slack ?? spec.telegram)?.credentialsRef.name;
}
