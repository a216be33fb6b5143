/** The door of Answer: a press on a button becomes a row of the control lane, and the question is closed with it. */
import { inbox } from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import { findQuestion, optionsOf } from '../questions/questions.ts';
import type { Inbox, InboxDeps } from './inbox.ts';
import { checkOrigin, checkText, invalid, type NewMessage, orNull } from './new-message.ts';

const UNKNOWN: inbox.AnswerResponse = { outcome: inbox.AnswerOutcome.UNKNOWN, label: '', answeredBy: '', title: '', text: '' };

/** Answers once the choice is durable. Errors as in inbox.proto. */
export async function answer(
  deps: Pick<InboxDeps, 'cells' | 'space' | 'events'> & { readonly inbox: Inbox },
  request: inbox.AnswerRequest,
): Promise<inbox.AnswerResponse> {
  const { cells, space, events } = deps;
  const message = parseAnswer(request);
  const { session, questionSeq } = request;
  // A platform gives the name back to us: one that is none, or another shard's, is no fault of the caller's.
  if (!cells.has(session)) return UNKNOWN;
  if (space.full) throw new StatusError(status.RESOURCE_EXHAUSTED, 'the volume is full; the answer was not stored, send it again later');
  const appended = await deps.inbox.append(session, message);
  const outcome = appended.outcome === 'no-choice' ? appended.because : appended.outcome;
  events.inc({ outcome });
  const question = outcome === 'unknown' ? undefined : findQuestion(cells.open(session).inbound, questionSeq);
  if (question === undefined) return UNKNOWN;
  return {
    outcome: OUTCOMES[outcome] ?? inbox.AnswerOutcome.UNKNOWN,
    label: optionsOf(question)[question.option ?? -1]?.label ?? '',
    answeredBy: question.answered_by ?? '',
    title: question.title,
    text: question.text,
  };
}

const OUTCOMES: Readonly<Record<string, inbox.AnswerOutcome>> = {
  stored: inbox.AnswerOutcome.STORED,
  duplicate: inbox.AnswerOutcome.DUPLICATE,
  answered: inbox.AnswerOutcome.ALREADY_ANSWERED,
};

/** Throws StatusError INVALID_ARGUMENT. */
function parseAnswer({ session, questionSeq, option, event }: inbox.AnswerRequest): NewMessage {
  checkText('session', session, 1, 63);
  if (!Number.isSafeInteger(questionSeq) || questionSeq < 1) throw invalid('question_seq', 'must be above 0', questionSeq);
  if (option < 0) throw invalid('option', 'must not be below 0', option);
  if (event === undefined) throw invalid('event', 'is missing', undefined);
  checkOrigin(event, true);
  return {
    eventId: event.eventId,
    press: { questionSeq, option },
    lane: 'control',
    kind: 'chat',
    trigger: true,
    channel: event.channel,
    chat: event.chat,
    thread: orNull(event.thread),
    sender: orNull(event.sender),
    senderName: orNull(event.senderName),
    platformMessageId: null, // the message with the buttons is the question's, not the answer's
    text: '',
    attachments: [],
    attachmentErrors: [],
    notBefore: 0,
    reason: null,
    traceparent: orNull(event.traceparent),
  };
}
