import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const demo = localStage();

verifies(
  'turn/transient-errors',
  'limits, overload and a broken line are tried again with backoff while people see that work goes on; they see the answer and no error',
  async () => {
    const chat = demo.it.chat();
    const answer = await chat.ask('fail 429 retry-after 1s\nfail 529\nfail network\nsay through', 'through');
    expect(answer).toBe('through');
    expect(chat.answers()).toEqual(['through']);
    expect(chat.activities).toContain('Thinking');
    const [ack] = demo.it.files.acks(await chat.session());
    expect(ack).toMatchObject({ state: 'done', tries: 1 });
  },
  PATIENT_MS,
);

verifies(
  'turn/transient-errors',
  'an outage that lasts is mentioned once, in our own words, and the message stays claimed',
  async () => {
    const chat = demo.it.chat();
    await chat.ask('fail 529 retry-after 10m\nsay later', 'I keep trying');
    expect(chat.answers()).toEqual([expect.not.stringMatching(/529|overload|error|script/i)]);
    expect(demo.it.files.acks(await chat.session())).toMatchObject([{ state: 'processing' }]);
  },
  PATIENT_MS,
);
