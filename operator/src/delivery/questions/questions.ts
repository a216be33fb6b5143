/**
 * Every statement on `questions`: what went out with buttons, and what was chosen. Written when a question is about to be sent, so that
 * no click can come before it is known, and read when one comes: what a platform sends back only points here.
 */
import type { QuestionContent, QuestionRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';

/** Where a question stands. */
export interface Place {
  readonly channel: string;
  readonly chat: string;
  readonly thread: string | null;
}

export type Option = QuestionContent['options'][number];

export function findQuestion(db: Database, seq: number): QuestionRow | undefined {
  return prepared(db, 'SELECT * FROM questions WHERE seq = ?').get(seq) as QuestionRow | undefined;
}

export function optionsOf(question: QuestionRow): readonly Option[] {
  return JSON.parse(question.options) as readonly Option[];
}

/**
 * Remembers a question that is about to be sent to a place, or is sent again, perhaps elsewhere. False: its id belongs to an earlier
 * question, whose answers it would take. Inside the transaction that commits its ledger row as sending.
 */
export function recordQuestion(db: Database, seq: number, content: Omit<QuestionContent, 'expiresAt'>, to: Place, now: number): boolean {
  const { questionId, title, text, options } = content;
  const taken = prepared(db, 'SELECT 1 FROM questions WHERE question_id = ? AND seq <> ?').get(questionId, seq);
  if (taken !== undefined) return false;
  prepared(
    db,
    `INSERT INTO questions (seq, question_id, channel, chat, thread, title, text, options, created_at)
     VALUES (@seq, @questionId, @channel, @chat, @thread, @title, @text, @options, @now)
     ON CONFLICT (seq) DO UPDATE SET channel = excluded.channel, chat = excluded.chat, thread = excluded.thread`,
  ).run({ seq, questionId, title, text, options: JSON.stringify(options), channel: to.channel, chat: to.chat, thread: to.thread, now });
  return true;
}

/** The latest question that people see in exactly this place and nobody has answered. */
export function openQuestionAt(db: Database, { channel, chat, thread }: Place): QuestionRow | undefined {
  return prepared(
    db,
    `SELECT questions.* FROM questions JOIN delivered USING (seq)
     WHERE answer_seq IS NULL AND channel = ? AND chat = ? AND thread IS ? AND state IN ('sending', 'in_doubt', 'delivered')
     ORDER BY seq DESC LIMIT 1`,
  ).get(channel, chat, thread) as QuestionRow | undefined;
}

export interface Answered {
  readonly answerSeq: number;
  readonly option: number;
  /** display name */
  readonly by: string;
}

/** Inside the transaction that appends the answer's row. */
export function markAnswered(db: Database, seq: number, { answerSeq, option, by }: Answered): void {
  prepared(db, 'UPDATE questions SET answer_seq = ?, option = ?, answered_by = ? WHERE seq = ? AND answer_seq IS NULL').run(
    answerSeq,
    option,
    by,
    seq,
  );
}
