import { inbox } from '@dovecote/proto';
import { describe, expect, test } from '@jest/globals';
import { WaitingError } from '../../lib/errors.ts';
import { answerOnShards } from './offer.ts';

const { STORED, UNKNOWN } = inbox.AnswerOutcome;
const request = {} as inbox.AnswerRequest;
const saying = (outcome: inbox.AnswerOutcome): inbox.AnswerResponse => ({ outcome, label: 'Yes', answeredBy: '', title: '', text: '' });

/** Each shard answers so; an Error is a shard that does not. */
function offer(shards: Readonly<Record<string, inbox.AnswerOutcome | Error>>): Promise<inbox.AnswerResponse | undefined> {
  const scripted = {
    answer: async (shard: string) => {
      const answer = shards[shard];
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error('no such shard');
      return saying(answer);
    },
  };
  return answerOnShards(scripted, Object.keys(shards), request, new AbortController().signal);
}

describe('a press is offered to every shard that may have its session', () => {
  const away = new WaitingError('UNAVAILABLE', 'the shard restarts', 1_000);
  test('the one that has it answers, also while others are away', async () => {
    expect(await offer({ 0: UNKNOWN, 1: STORED, 2: away })).toEqual(saying(STORED));
  });
  test('that none has it is known only when all have answered', async () => {
    expect(await offer({ 0: UNKNOWN, 1: UNKNOWN })).toBeUndefined();
    await expect(offer({ 0: UNKNOWN, 1: away })).rejects.toBe(away);
  });
});
