/**
 * Test double of a runner: the real Attach stream and the real two files, and in place of a model a function from text to text.
 * Each answer is one transaction, as a step's is.
 */
import { join } from 'node:path';
import {
  attach,
  INBOUND_DB,
  type MessageInRow,
  type MessageOutRow,
  OUTBOUND_DB,
  openInboundReader,
  openOutboundWriter,
  STATE_TITLE,
} from '@dovecote/proto';
import { credentials, Metadata } from '@grpc/grpc-js';
import type { Database } from 'better-sqlite3';

/** What it says, when it is no chat message. */
export interface Said {
  readonly kind: MessageOutRow['kind'];
  readonly content: object;
}

export type Answer = (row: MessageInRow) => string | Said | undefined;

export interface ScriptedRunnerOptions {
  readonly address: string;
  readonly session: string;
  readonly podUid: string;
  readonly in: string;
  readonly out: string;
  /** undefined: stays silent, but the message is done. Throws: it is set aside. */
  readonly answer: Answer;
  readonly instance?: string;
}

export class ScriptedRunner {
  readonly received: attach.AttachResponse[] = [];
  readonly ended: Promise<string>;
  exited = false;
  #client: attach.AttachClient;
  #stream: ReturnType<attach.AttachClient['attach']>;
  #in: Database;
  #out: Database;
  readonly #options: ScriptedRunnerOptions;
  #draining = false;
  #turn = 0;

  constructor(options: ScriptedRunnerOptions) {
    this.#options = options;
    this.#in = openInboundReader(join(options.in, INBOUND_DB));
    this.#out = openOutboundWriter(join(options.out, OUTBOUND_DB));
    this.#client = new attach.AttachClient(options.address, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer session:${options.session}:${options.podUid}`);
    this.#stream = this.#client.attach(metadata);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.ended = promise;
    this.#stream.on('data', (message: attach.AttachResponse) => this.#heard(message));
    this.#stream.on('error', (error) => resolve(error.message));
    this.#stream.on('end', () => resolve('end'));
    this.#send({
      $case: 'hello',
      value: {
        session: options.session,
        runnerVersion: 'scripted',
        inboundSchema: 1,
        outboundSchema: 1,
        containerServiceAddress: '127.0.0.1:9090',
        containerServiceCertificate: 'PEM',
        instance: options.instance ?? `${options.session}-${options.podUid}`,
      },
    });
  }

  progress(phase: attach.Progress_Phase, activity = '', turnId = '', jobsUntilMs = 0): void {
    this.#send({ $case: 'progress', value: { phase, turnId, activity, deadlineMs: 0, atMs: 0, jobsUntilMs } });
  }

  /** What its model has said so far in answer to inbound row `inReplyTo`. */
  partial(text: string, inReplyTo = 2, turnId = 't1'): void {
    this.#send({ $case: 'partial', value: { turnId, step: 1, inReplyTo, text } });
  }

  /** Its model names the conversation. */
  title(text: string): void {
    this.#out
      .prepare('INSERT INTO state (key, value, updated_at) VALUES (?, ?, 0) ON CONFLICT (key) DO UPDATE SET value = excluded.value')
      .run(STATE_TITLE, JSON.stringify({ text }));
    this.#send({ $case: 'outbox', value: { seq: 0 } });
  }

  /** Answers everything that waits, each in a transaction of its own, and rings. */
  work(): void {
    const done = new Set(this.#out.prepare('SELECT in_seq FROM acks').pluck().all() as number[]);
    const rows = this.#in.prepare("SELECT * FROM messages_in WHERE status = 'pending' ORDER BY seq").all() as MessageInRow[];
    for (const row of rows) {
      if (done.has(row.seq)) continue;
      this.#turn += 1;
      this.#out
        .transaction(() => {
          const { said, error } = this.#answer(row);
          this.#out
            .prepare('INSERT INTO acks (in_seq, state, turn_id, error, at) VALUES (?, ?, ?, ?, ?)')
            .run(row.seq, error === undefined ? 'done' : 'failed', `t${this.#turn}`, error ?? null, row.created_at);
          if (said === undefined) return;
          const { kind, content } = typeof said === 'string' ? { kind: 'chat', content: { text: said } } : said;
          const own = (this.#out.prepare('SELECT max(seq) FROM messages_out').pluck().get() as number | null) ?? -1;
          const seq = Math.max(own, row.seq - 1) + 2;
          this.#out
            .prepare('INSERT INTO messages_out (seq, id, kind, in_reply_to, content, created_at) VALUES (?, ?, ?, ?, ?, ?)')
            .run(seq, `${row.seq}/0/0`, kind, row.seq, JSON.stringify(content), row.created_at);
        })
        .immediate();
    }
    if (rows.length > 0) this.#send({ $case: 'outbox', value: { seq: 0 } });
  }

  /** The last thing it says: its process ends with it. */
  drained(reason = 'Idle'): void {
    this.exited = true;
    this.#send({ $case: 'drained', value: { reason, checkpointed: false } });
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
    if (this.#in.open) this.#in.close();
    if (this.#out.open) this.#out.close();
  }

  #heard(response: attach.AttachResponse): void {
    this.received.push(response);
    switch (response.message?.$case) {
      case 'welcome':
      case 'inbox':
        if (!this.#draining) this.work();
        this.progress(attach.Progress_Phase.IDLE);
        return;
      case 'drain':
        this.#draining = true;
        this.drained(response.message.value.reason);
        return;
      default:
    }
  }

  #answer(row: MessageInRow): { said?: string | Said | undefined; error?: string } {
    try {
      return { said: row.trigger === 1 ? this.#options.answer(row) : undefined };
    } catch (e) {
      return { error: e instanceof Error ? e.message : String(e) };
    }
  }

  #send(message: attach.AttachRequest['message']): void {
    this.#stream.write({ message });
  }
}
