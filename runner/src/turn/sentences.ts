/** What people read when something goes wrong. Never a model provider's own text. */
import type { PermanentReason, ProviderError, TransientReason } from '../providers/provider.ts';

export const STOPPED = 'Stopped.';
export const NOTHING_TO_STOP = 'Nothing is running.';
export const NO_ANSWER = 'I finished without an answer to give. Please ask again, perhaps in other words.';
export const CUT_OFF = '(The answer reached its length limit and ends here.)';
export const REFUSED = 'I cannot help with that.';
export const KILLED = 'I was interrupted several times while working on this and gave up. Please ask again.';
export const COMPACTED = '(I have summed up the earlier part of our conversation to make room.)';
export const NOTHING_TO_COMPACT = 'There is nothing to sum up yet.';
export const CANNOT_COMPACT = 'I could not sum up our conversation. Nothing was changed; please try again later.';
export const TOO_LONG_A_TURN = 'I stopped because this took longer than one turn may take. Tell me to go on if I should.';

const WAITING: Readonly<Record<TransientReason, string>> = {
  RateLimited: 'The model is busy right now.',
  Overloaded: 'The model is busy right now.',
  Unavailable: 'The model is not available right now.',
  Network: 'The model cannot be reached right now.',
  NoProgress: 'The model has stopped responding.',
};

const REFUSALS: Readonly<Record<PermanentReason, string>> = {
  Unauthenticated: "The model refused this agent's credentials, so I cannot answer yet. Once an administrator has set them, I will.",
  Forbidden:
    'This agent is not allowed to use its model right now, so I cannot answer yet. Once an administrator has changed that, I will.',
  BadRequest:
    'The model refused this request, so I cannot answer it. Please put it another way; an administrator can see the reason in the log.',
  TooLarge: 'This conversation or message is longer than the model can read. Please send something shorter.',
  NoSuchModel: "This agent's model does not exist, so I cannot answer yet. Once an administrator has chosen another one, I will.",
  NotConfigured: "This agent's model provider is not set up, so I cannot answer yet. Once an administrator has set it up, I will.",
};

export function waitingSentence(error: ProviderError): string {
  return `${WAITING[error.reason as TransientReason]} I keep trying; you need not send your message again.`;
}

export function refusalSentence(error: ProviderError): string {
  return error.sentence ?? REFUSALS[error.reason as PermanentReason];
}
