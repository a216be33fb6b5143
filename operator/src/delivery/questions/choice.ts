/** Whether an inbound message is a choice on a question: a button that was pressed, or the words that stand for it. */
import type { InboundAnswer, QuestionRow } from '@dovecote/proto';
import type { Database } from 'better-sqlite3';
import { findQuestion, type Option, openQuestionAt, optionsOf, type Place } from './questions.ts';

/** A button as the platform reports it. Nothing in it is believed but that someone pressed something. */
export interface Press {
  /** of the question's outbound row */
  readonly questionSeq: number;
  /** index into its options */
  readonly option: number;
}

export interface Choice {
  readonly question: QuestionRow;
  readonly option: number;
  readonly answer: InboundAnswer;
}

/** More than any label has: longer texts are not looked at. */
const MAX_TYPED_CHARS = 300;

/** The choice, or why it is none: the question is not of that place, has no such option, or was answered before. */
export function pressed(db: Database, { questionSeq, option }: Press, from: Place): Choice | 'unknown' | 'answered' {
  const question = findQuestion(db, questionSeq);
  if (question === undefined || question.channel !== from.channel || question.chat !== from.chat) return 'unknown';
  // A question outside of threads may have got its own by the answers to it: the platform then names that one.
  if (question.thread !== null && question.thread !== from.thread) return 'unknown';
  const chosen = optionsOf(question)[option];
  if (chosen === undefined) return 'unknown';
  return question.answer_seq === null ? choiceOf(question, option, chosen) : 'answered';
}

/** The choice that a text makes on the latest open question of its place. A sentence is none, nor is a number out of range. */
export function typed(db: Database, text: string, from: Place): Choice | undefined {
  const words = text.trim();
  if (words === '' || words.length > MAX_TYPED_CHARS) return undefined;
  const question = openQuestionAt(db, from);
  if (question === undefined) return undefined;
  const options = optionsOf(question);
  const same = options.findIndex(({ label }) => folded(label) === folded(words));
  // Where labels are numbers themselves, what a person reads counts for more than what stands before it.
  const option = same >= 0 ? same : /^[0-9]{1,3}$/.test(words) ? Number(words) - 1 : -1;
  const chosen = options[option];
  return chosen === undefined ? undefined : choiceOf(question, option, chosen);
}

function choiceOf(question: QuestionRow, option: number, { label, value }: Option): Choice {
  const { question_id: questionId, seq: questionSeq, title } = question;
  return { question, option, answer: { questionId, questionSeq, title, value, label } };
}

function folded(text: string): string {
  return text.normalize('NFKC').trim().toLowerCase();
}
