import { describe, expect, test } from '@jest/globals';
import { decideSleep, type SleepInput } from './sleep-decision.ts';

const now = 10_000_000;
const idle: SleepInput = {
  now,
  suspended: false,
  idleTimeoutMs: 600_000,
  nextDue: null,
  openOutbound: 0,
  unfinishedTurn: false,
  runner: 'idle',
  jobsUntil: 0,
  lastActivity: now - 600_000,
};

describe('the decision to sleep', () => {
  const cases: [string, Partial<SleepInput>, ReturnType<typeof decideSleep>][] = [
    ['idle for as long as its agent allows: sleeps', {}, { sleep: true, reason: 'Idle' }],
    ['a moment less: stays', { lastActivity: now - 599_999 }, { sleep: false, because: 'Fresh' }],
    ['a message waits for a turn: stays', { nextDue: now - 1 }, { sleep: false, because: 'Pending' }],
    ['a message is due in a moment: stays', { nextDue: now + 5_000 }, { sleep: false, because: 'DueSoon' }],
    ['a message is due in an hour: sleeps', { nextDue: now + 3_600_000 }, { sleep: true, reason: 'Idle' }],
    ['in a turn for hours: stays', { runner: 'busy', lastActivity: 0 }, { sleep: false, because: 'Busy' }],
    ['an answer is on its way: stays', { openOutbound: 1 }, { sleep: false, because: 'NotDelivered' }],
    [
      'a platform that is down for long does not keep the Pod',
      { openOutbound: 1, lastActivity: now - 900_000 },
      { sleep: true, reason: 'Idle' },
    ],
    [
      'its runner died in mid-turn and has not come back: stays',
      { unfinishedTurn: true, runner: 'absent', lastActivity: 0 },
      { sleep: false, because: 'UnfinishedTurn' },
    ],
    ['a background job runs until later: stays', { jobsUntil: now + 1, lastActivity: 0 }, { sleep: false, because: 'Jobs' }],
    ['the time of its background jobs is over: sleeps', { jobsUntil: now }, { sleep: true, reason: 'Idle' }],
    ['no runner came, and nothing waits: sleeps', { runner: 'absent' }, { sleep: true, reason: 'Idle' }],
    ['suspended: sleeps whatever it does', { suspended: true, runner: 'busy', nextDue: 0 }, { sleep: true, reason: 'Suspended' }],
  ];
  test.each(cases)('%s', (_, input, decision) => {
    expect(decideSleep({ ...idle, ...input })).toEqual(decision);
  });
});
