import { describe, expect, test } from '@jest/globals';
import type { IncomingEvent } from '../channel.ts';
import { slackEmojiName } from './emoji-name.ts';
import { parseMessageEvent } from './events.ts';

let own = 0;
const context = {
  channel: 'team',
  self: { userId: 'UBOT', botId: 'B0BOT', name: 'kbot' },
  eventId: 'Ev1',
  nameOf: async (user: string) => (user === 'U1' ? 'Alice' : user),
  attachment: ({ id, name }: { id: string; name?: string | null | undefined }) => ({
    name: name ?? id,
    mimeType: 'text/plain',
    sizeBytes: 1,
    open: () => Promise.reject(new Error('not fetched')),
  }),
  onOwnMessage: () => {
    own += 1;
  },
};
const base = { type: 'message', channel: 'C1', channel_type: 'channel', user: 'U1', ts: '1700000000.000100' };
const one = async (change: object): Promise<IncomingEvent | undefined> => (await parseMessageEvent({ ...base, ...change }, context))[0];

describe('slack events', () => {
  test.each<[string, object, object]>([
    [
      'a message',
      { text: 'hi' },
      {
        type: 'message',
        eventId: 'team/C1/1700000000.000100',
        chat: 'C1',
        chatClass: 'Group',
        thread: '',
        opensThread: base.ts,
        sender: 'U1',
        senderName: 'Alice',
        mentioned: false,
        sentAtMs: 1_700_000_000_000,
      },
    ],
    ['a reply in a thread', { text: 'hi', thread_ts: '1.0' }, { thread: '1.0', opensThread: '' }],
    ['the first message of a thread', { text: 'hi', thread_ts: base.ts }, { thread: '', opensThread: base.ts }],
    ['a direct chat', { text: 'hi', channel: 'D1', channel_type: 'im' }, { chatClass: 'Direct' }],
    ['a direct chat that is not called so', { text: 'hi', channel: 'D1', channel_type: undefined }, { chatClass: 'Direct' }],
    ['a group of people', { text: 'hi', channel: 'G1', channel_type: 'mpim' }, { chatClass: 'Group' }],
    ['a mention', { text: 'hey <@UBOT> you' }, { mentioned: true, text: 'hey @kbot you' }],
    [
      'a mention told as app_mention has the same id',
      { type: 'app_mention', text: '<@UBOT>' },
      { mentioned: true, eventId: 'team/C1/1700000000.000100' },
    ],
    ['names for ids', { text: '<@U1> and <@U2> in <#C9|general>, <!here>' }, { text: '@Alice and @U2 in #general, @here' }],
    [
      'addresses and escapes',
      { text: 'see <https://a.example|docs> &lt;b&gt; &amp;amp;' },
      { text: 'see docs (https://a.example) <b> &amp;' },
    ],
    [
      'a file',
      { text: '', subtype: 'file_share', files: [{ id: 'F1', name: 'a.txt' }] },
      { type: 'message', attachments: [{ name: 'a.txt' }] },
    ],
    [
      'another bot',
      { subtype: 'bot_message', user: undefined, bot_id: 'B9', username: 'ci', text: 'built' },
      { sender: 'B9', senderName: 'ci', senderIsBot: true },
    ],
    [
      'an edit',
      {
        subtype: 'message_changed',
        user: undefined,
        message: { ts: '1.5', user: 'U1', text: 'new', thread_ts: '1.0' },
        previous_message: { ts: '1.5', text: 'old' },
      },
      { type: 'edited', eventId: 'team/event/Ev1', platformMessageId: '1.5', text: 'new', thread: '1.0', senderName: 'Alice' },
    ],
    [
      'a deletion',
      { subtype: 'message_deleted', user: undefined, deleted_ts: '1.5', previous_message: { ts: '1.5', user: 'U1', text: 'old' } },
      { type: 'deleted', eventId: 'team/event/Ev1', platformMessageId: '1.5' },
    ],
    [
      'the deletion of a message with answers',
      { subtype: 'message_changed', message: { ts: '1.5', subtype: 'tombstone', text: '' }, previous_message: { ts: '1.5', text: 'x' } },
      { type: 'deleted' },
    ],
  ])('%s', async (_, change, expected) => expect(await one(change)).toMatchObject(expected));

  test.each<[string, object]>([
    ['someone joined', { subtype: 'channel_join', text: 'joined' }],
    [
      'Slack unfurled a link',
      { subtype: 'message_changed', message: { ts: '1.5', user: 'U1', text: 'same' }, previous_message: { ts: '1.5', text: 'same' } },
    ],
  ])('%s: nobody said anything', async (_, change) => expect(await one(change)).toBeUndefined());

  test.each<[string, object]>([
    ['our message', { user: 'UBOT', text: 'x' }],
    ['our message as a bot', { user: undefined, subtype: 'bot_message', bot_id: 'B0BOT', text: 'x' }],
    [
      'our edit',
      { subtype: 'message_changed', message: { ts: '1.5', user: 'UBOT', text: 'new' }, previous_message: { ts: '1.5', text: 'old' } },
    ],
    ['our message deleted', { subtype: 'message_deleted', deleted_ts: '1.5', previous_message: { ts: '1.5', user: 'UBOT' } }],
  ])('%s is ignored and counted', async (_, change) => {
    const before = own;
    expect(await one(change)).toBeUndefined();
    expect(own).toBe(before + 1);
  });

  test('bad form is an error that names the field', async () => {
    await expect(one({ ts: 5 })).rejects.toThrow('ts');
  });
});

test.each([
  ['👍', '+1'],
  ['❤️', 'heart'],
  ['❤', 'heart'],
  ['👍🏽', '+1::skin-tone-4'],
  [':tada:', 'tada'],
  ['eyes', 'eyes'],
  ['not an emoji', undefined],
])('slack’s name of %s is %s', (emoji, name) => expect(slackEmojiName(emoji)).toBe(name));
