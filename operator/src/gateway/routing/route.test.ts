import type { MessagingGroupSpecInput } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import type { IncomingMessage } from '../channels/channel.ts';
import { messagingGroup } from '../testing/objects.ts';
import { ChatIndex } from './chat-match.ts';
import { route } from './route.ts';

const message = (change: Partial<IncomingMessage> = {}): IncomingMessage => ({
  type: 'message',
  eventId: 'team/C1/1',
  chat: 'C1',
  chatClass: 'Group',
  thread: '',
  opensThread: 'T1',
  sender: 'alice',
  senderName: 'Alice',
  senderIsBot: false,
  platformMessageId: '1',
  sentAtMs: 0,
  text: 'hello',
  mentioned: false,
  attachments: [],
  ...change,
});

type Agent = NonNullable<MessagingGroupSpecInput['agents']>[number];
type Group = Partial<Omit<MessagingGroupSpecInput, 'agents'>>;

/** One line for each decision: what a person would say of it. */
function decided(event: IncomingMessage, agents: readonly Agent[], group: Group = { unknownSenders: 'Public' }): string[] {
  const wired = messagingGroup('mg', { channelRef: 'team', chatId: 'C1', agents: [...agents], ...group });
  return route('team', event, wired).map((decision) => {
    if (decision.type === 'drop') return `drop ${decision.agentGroup || 'for all'}: ${decision.reason}`;
    if (decision.type === 'amend') return `amend ${decision.agentGroup} in ${decision.scope}`;
    const what = decision.ifNotEngaged === undefined ? (decision.trigger ? 'wake' : 'keep for') : `ask (else ${decision.ifNotEngaged})`;
    return `${what} ${decision.agentGroup} in ${decision.scope}: ${decision.reason}`;
  });
}

const dm = { chatClass: 'Direct', opensThread: '' } as const;

describe('commands', () => {
  const decision = (text: string, agent: Partial<Agent> = {}, event: Partial<IncomingMessage> = dm) => {
    const wired = messagingGroup('mg', {
      channelRef: 'team',
      chatId: 'C1',
      unknownSenders: 'Public',
      agents: [{ agentGroupRef: 'a', ...agent }],
    });
    return route('team', message({ text, ...event }), wired)[0];
  };
  test.each([
    ['/stop', '/stop'],
    [' /STOP \n', '/stop'],
    ['/compact', '/compact'],
    ['<@U0BOT> /stop', '/stop'],
    ['@helper @other /stop', '/stop'],
    ['/stop@helper_bot', '/stop'],
    ['/stop it, please', undefined],
    ['please /stop', undefined],
    ['/stopp', undefined],
    ['/deploy', undefined],
    ['stop', undefined],
    ['//stop', undefined],
  ])('%j is %s', (text, command) => {
    expect(decision(text)).toMatchObject({ type: 'deliver', trigger: true });
    expect((decision(text) as { command?: string }).command).toBe(command);
  });

  test('that are not for the agent reach nobody, and are no context either', () => {
    const group = { mentioned: false } as const;
    expect(decision('/stop', { engage: { mode: 'Mention' } }, group)).toMatchObject({ type: 'drop' });
    expect(decision('/stop', { engage: { mode: 'MentionSticky' }, ignored: 'Accumulate' }, group)).toMatchObject({
      command: '/stop',
      ifNotEngaged: 'drop',
    });
    expect(decision('/stop', { engage: { mode: 'Mention' }, ignored: 'Accumulate' }, group)).not.toHaveProperty('command');
  });
});

describe('engage modes', () => {
  test.each<[string, Agent['engage'], Partial<IncomingMessage>, string]>([
    ['Always hears everything', { mode: 'Always' }, {}, 'wake a in team/C1: Always'],
    ['Mention hears a mention', { mode: 'Mention' }, { mentioned: true }, 'wake a in team/C1: Mentioned'],
    ['Mention hears nothing else in a group', { mode: 'Mention' }, {}, 'drop a: NotEngaged'],
    ['Mention hears everything in a direct chat', { mode: 'Mention' }, dm, 'wake a in team/C1: Direct'],
    ['MentionSticky hears a mention', { mode: 'MentionSticky' }, { mentioned: true }, 'wake a in team/C1: Mentioned'],
    ['MentionSticky asks the inbox about everything else', { mode: 'MentionSticky' }, {}, 'ask (else drop) a in team/C1: Sticky'],
    ['Pattern hears what matches', { mode: 'Pattern', pattern: '(?i)^deploy' }, { text: 'Deploy it' }, 'wake a in team/C1: PatternMatched'],
    ['Pattern hears nothing else', { mode: 'Pattern', pattern: '^deploy' }, { text: 'please deploy' }, 'drop a: NotEngaged'],
    ['Pattern is asked in a direct chat too', { mode: 'Pattern', pattern: '^deploy' }, dm, 'drop a: NotEngaged'],
  ])('%s', (_, engage, event, expected) => {
    expect(decided(message(event), [{ agentGroupRef: 'a', engage }])).toEqual([expected]);
  });

  test('a pattern that cannot be compiled engages on nothing', () => {
    const group = messagingGroup('mg', { channelRef: 'team', chatId: 'C1', unknownSenders: 'Public', agents: [{ agentGroupRef: 'a' }] });
    const broken = {
      ...group,
      spec: { ...group.spec, agents: group.spec.agents.map((a) => ({ ...a, engage: { mode: 'Pattern' as const, pattern: '(' } })) },
    };
    expect(route('team', message(), broken)).toMatchObject([{ type: 'drop', reason: 'PatternInvalid' }]);
  });

  test('a hostile text does not keep a pattern busy', () => {
    const agents = [{ agentGroupRef: 'a', engage: { mode: 'Pattern' as const, pattern: '^(a+)+$' } }];
    // A backtracking engine needs longer than the universe has for this one.
    expect(decided(message({ text: `${'a'.repeat(50_000)}!` }), agents)).toEqual(['drop a: NotEngaged']);
  });
});

describe('session modes', () => {
  test.each<[string, Partial<Agent>, Partial<IncomingMessage>, string]>([
    ['Shared: one session for the chat', { sessionMode: 'Shared' }, {}, 'team/C1'],
    ['Shared: threads are in it', { sessionMode: 'Shared' }, { thread: 'T9' }, 'team/C1'],
    ['PerThread: one session for the thread', { sessionMode: 'PerThread' }, { thread: 'T9' }, 'team/C1/T9'],
    ['PerThread: a message outside threads begins one', { sessionMode: 'PerThread' }, {}, 'team/C1/T1'],
    ['PerThread: without threads on the platform, the chat', { sessionMode: 'PerThread' }, { opensThread: '' }, 'team/C1'],
    ['PerThread: threads collapse in direct chats', { sessionMode: 'PerThread' }, { ...dm, thread: 'T9' }, 'team/C1'],
    ['AgentShared: one for everything', { sessionMode: 'AgentShared' }, { thread: 'T9' }, '*'],
  ])('%s', (_, wiring, event, scope) => {
    expect(decided(message(event), [{ agentGroupRef: 'a', engage: { mode: 'Always' }, ...wiring }])[0]).toContain(` in ${scope}: `);
  });

  test('a chat id may hold anything', () => {
    const [decision] = decided(message({ chat: '-100/2 ä' }), [{ agentGroupRef: 'a', engage: { mode: 'Always' } }]);
    expect(decision).toBe('wake a in team/-100%2F2%20%C3%A4: Always');
  });
});

describe('where the answer belongs', () => {
  const threadOf = (wiring: Partial<Agent>, event: Partial<IncomingMessage>): string | undefined => {
    const group = messagingGroup('mg', {
      channelRef: 'team',
      chatId: 'C1',
      unknownSenders: 'Public',
      agents: [{ agentGroupRef: 'a', ...wiring }],
    });
    const [decision] = route('team', message({ mentioned: true, ...event }), group);
    return decision?.type === 'deliver' ? decision.thread : undefined;
  };
  test('in the thread of the message', () => expect(threadOf({}, { thread: 'T9' })).toBe('T9'));
  test('in the chat, when the message is in no thread', () => expect(threadOf({}, {})).toBe(''));
  test('in the thread it opens, for PerThread', () => expect(threadOf({ sessionMode: 'PerThread' }, {})).toBe('T1'));
  test('in the thread it opens, for MentionSticky: else one mention engages for ever', () =>
    expect(threadOf({ engage: { mode: 'MentionSticky' } }, {})).toBe('T1'));
  test('in the thread of a direct chat, though its session has none', () =>
    expect(threadOf({ sessionMode: 'PerThread' }, { ...dm, thread: 'T9' })).toBe('T9'));
});

describe('senders', () => {
  const always = { agentGroupRef: 'a', engage: { mode: 'Always' as const } };
  const mention = { agentGroupRef: 'a', ignored: 'Accumulate' as const };
  test.each<[string, Agent, Group, Partial<IncomingMessage>, string]>([
    ['Strict refuses the unknown', always, { unknownSenders: 'Strict' }, {}, 'drop for all: SenderUnknown'],
    ['Strict is what is not said', always, {}, {}, 'drop for all: SenderUnknown'],
    ['Strict lets in the known', always, { knownSenders: ['alice'] }, {}, 'wake a in team/C1: Always'],
    ['Public lets in everyone', always, { unknownSenders: 'Public' }, {}, 'wake a in team/C1: Always'],
    ['senderScope Known refuses guests', { ...always, senderScope: 'Known' }, { unknownSenders: 'Public' }, {}, 'drop a: SenderOutOfScope'],
    [
      'senderScope Known hears the known',
      { ...always, senderScope: 'Known' },
      { knownSenders: ['alice'] },
      {},
      'wake a in team/C1: Always',
    ],
    [
      'bots are refused even where all are let in',
      always,
      { unknownSenders: 'Public' },
      { senderIsBot: true },
      'drop for all: SenderIsBot',
    ],
    ['a known bot is heard', always, { knownSenders: ['alice'] }, { senderIsBot: true }, 'wake a in team/C1: Always'],
    ['what a known sender says unasked is kept', mention, { knownSenders: ['alice'] }, {}, 'keep for a in team/C1: Accumulated'],
    ['what a guest says unasked is not', mention, { unknownSenders: 'Public' }, {}, 'drop a: NotEngagedUnknownSender'],
    [
      'sticky with Accumulate keeps what a known sender says',
      { ...mention, engage: { mode: 'MentionSticky' } },
      { knownSenders: ['alice'] },
      {},
      'ask (else accumulate) a in team/C1: Sticky',
    ],
    [
      'sticky with Accumulate drops a guest',
      { ...mention, engage: { mode: 'MentionSticky' } },
      { unknownSenders: 'Public' },
      {},
      'ask (else drop) a in team/C1: Sticky',
    ],
  ])('%s', (_, agent, group, event, expected) => {
    expect(decided(message(event), [agent], group)).toEqual([expected]);
  });
});

describe('several agents in one chat', () => {
  test('each decides for itself, the higher priority first', () => {
    const agents: Agent[] = [
      { agentGroupRef: 'low', engage: { mode: 'Always' } },
      { agentGroupRef: 'high', priority: 10, engage: { mode: 'Always' } },
      { agentGroupRef: 'deaf', priority: 5 },
    ];
    expect(decided(message(), agents)).toEqual(['wake high in team/C1: Always', 'drop deaf: NotEngaged', 'wake low in team/C1: Always']);
  });

  test('agents of one priority come by name, on every replica alike', () => {
    const agents: Agent[] = ['b', 'a', 'c'].map((agentGroupRef) => ({ agentGroupRef, engage: { mode: 'Always' } }));
    expect(decided(message(), agents).map((line) => line.split(' ')[1])).toEqual(['a', 'b', 'c']);
  });
});

describe('nobody listens', () => {
  test('an unwired chat is dropped, with its id', () => {
    expect(route('team', message(), undefined)).toMatchObject([
      { type: 'drop', agentGroup: '', reason: 'Unwired', detail: expect.stringContaining('C1') },
    ]);
  });
  test('a chat that names no agent is dropped', () => expect(decided(message(), [])).toEqual(['drop for all: NoAgents']));
});

describe('edits and deletions', () => {
  test('go to every agent of the chat, engaged or not, known sender or not', () => {
    const { text, mentioned, attachments, ...rest } = message();
    const group = messagingGroup('mg', {
      channelRef: 'team',
      chatId: 'C1',
      agents: [
        { agentGroupRef: 'a' },
        { agentGroupRef: 'b', sessionMode: 'PerThread' },
        { agentGroupRef: 'c', sessionMode: 'AgentShared' },
      ],
    });
    expect(route('team', { ...rest, type: 'deleted' }, group)).toEqual([
      { type: 'amend', agentGroup: 'a', scope: 'team/C1' },
      { type: 'amend', agentGroup: 'b', scope: 'team/C1/T1' },
      { type: 'amend', agentGroup: 'c', scope: '*' },
    ]);
  });
});

describe('which MessagingGroup', () => {
  const any = messagingGroup('any', { channelRef: 'team', chatClass: 'Any' });
  const groups = messagingGroup('groups', { channelRef: 'team', chatClass: 'Group' });
  const one = messagingGroup('one', { channelRef: 'team', chatId: 'C1' });
  const other = messagingGroup('other', { channelRef: 'elsewhere', chatId: 'C2' });
  const name = (index: ChatIndex, chat: string, chatClass: 'Direct' | 'Group'): string | undefined =>
    index.match('team', chat, chatClass)?.metadata.name;

  test('the most specific wins: the chat, then its class, then Any', () => {
    const index = new ChatIndex([any, groups, one, other]);
    expect([name(index, 'C1', 'Group'), name(index, 'C2', 'Group'), name(index, 'C2', 'Direct')]).toEqual(['one', 'groups', 'any']);
  });
  test('none, when only another channel has it', () => expect(name(new ChatIndex([other]), 'C2', 'Group')).toBeUndefined());
  test('of two for one chat, the older one', () => {
    const newer = { ...one, metadata: { ...one.metadata, name: 'newer', creationTimestamp: '2026-02-01T00:00:00Z' } };
    expect(name(new ChatIndex([newer, one]), 'C1', 'Group')).toBe('one');
    expect(name(new ChatIndex([one, newer]), 'C1', 'Group')).toBe('one');
  });
});
