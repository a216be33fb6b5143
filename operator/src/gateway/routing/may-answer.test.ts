import type { MessagingGroupSpecInput } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import { sessionName } from '../../lib/session-name.ts';
import type { IncomingAnswer } from '../channels/channel.ts';
import { messagingGroup } from '../testing/objects.ts';
import { mayAnswer } from './may-answer.ts';

const press = (change: Partial<IncomingAnswer> = {}): IncomingAnswer => ({
  type: 'answer',
  eventId: 'team/press/1',
  chat: 'C1',
  chatClass: 'Group',
  thread: '',
  opensThread: '',
  sender: 'alice',
  senderName: 'Alice',
  senderIsBot: false,
  platformMessageId: '1',
  sentAtMs: 0,
  pressId: '',
  session: sessionName('closed', 'uid', 'team/C1', 1),
  questionSeq: 5,
  option: 0,
  ...change,
});

function reason(event: IncomingAnswer, spec: Partial<MessagingGroupSpecInput>): string | undefined {
  const group = messagingGroup('mg', {
    channelRef: 'team',
    chatId: 'C1',
    agents: [{ agentGroupRef: 'open' }, { agentGroupRef: 'closed', senderScope: 'Known' }],
    ...spec,
  });
  return mayAnswer('team', event, group)?.reason;
}

describe('whoever may speak to the agent may answer it', () => {
  test('a chat that is not wired', () => expect(mayAnswer('team', press(), undefined)?.reason).toBe('Unwired'));
  test('a stranger, where strangers are refused', () => expect(reason(press(), { unknownSenders: 'Strict' })).toBe('SenderUnknown'));
  test('a bot that nobody knows', () => expect(reason(press({ senderIsBot: true }), { unknownSenders: 'Public' })).toBe('SenderIsBot'));
  test('a guest, by an agent that hears known senders only', () =>
    expect(reason(press(), { unknownSenders: 'Public' })).toBe('SenderOutOfScope'));
  test('a guest, by an agent that hears everyone', () =>
    expect(reason(press({ session: sessionName('open', 'uid', 'team/C1', 1) }), { unknownSenders: 'Public' })).toBeUndefined());
  test('a known sender, always', () => expect(reason(press(), { unknownSenders: 'Strict', knownSenders: ['alice'] })).toBeUndefined());
});
