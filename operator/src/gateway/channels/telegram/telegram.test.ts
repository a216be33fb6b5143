import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { StatusError } from '../../../lib/grpc.ts';
import { eventually } from '../../testing/eventually.ts';
import { freePort, MockPlatformFaults, type PlatformCall } from '../../testing/mock-platform-faults.ts';
import { agentGroup, anyChat, channel, handCaches } from '../../testing/objects.ts';
import { type TestGateway, testGateway } from '../../testing/test-gateway.ts';
import { WebhookRelay } from '../../testing/webhook-relay.ts';
import type { IncomingEvent } from '../channel.ts';
import { describeChannel, type PlatformUnderTest, type Seen } from '../contract.test-suite.ts';
import { BOT_NAME, BOT_TOKEN, GROUP, startTelegramEmulator } from './telegram-emulator.ts';
import { parseUpdate } from './updates.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const SECRET = 'a-webhook_secret';

/** What the emulator does not know: files, reactions, chat actions. By the mock, from the documentation. */
function addMethods(mock: MockPlatformFaults): { readonly files: Seen[]; readonly reactions: Map<string, string> } {
  const files: Seen[] = [];
  const reactions = new Map<string, string>();
  const sendFile = (field: string) => async (call: PlatformCall) => {
    const form = await new Response(new Uint8Array(call.body), {
      headers: { 'content-type': call.headers['content-type'] ?? '' },
    }).formData();
    const file = form.get(field);
    if (file === null || typeof file === 'string') return { ok: false, error_code: 400, description: `no ${field}` };
    files.push({
      id: '9000',
      text: String(form.get('caption') ?? ''),
      thread: '',
      file: { name: file.name, bytes: Buffer.from(await file.arrayBuffer()) },
    });
    return { ok: true, result: { message_id: 9000, document: {} } };
  };
  mock.answer('sendDocument', sendFile('document'));
  mock.answer('sendPhoto', sendFile('photo'));
  mock.answer('sendChatAction', () => ({ ok: true, result: true }));
  mock.answer('setMessageReaction', (call) => {
    const { message_id, reaction } = JSON.parse(call.body.toString()) as { message_id: number; reaction: { emoji: string }[] };
    reactions.set(String(message_id), reaction[0]?.emoji ?? '');
    return { ok: true, result: true };
  });
  return { files, reactions };
}

async function telegram(mode: 'Webhook' | 'Poll'): Promise<PlatformUnderTest> {
  // Telegram shows the secret with each call; the emulator does not.
  const relay = await WebhookRelay.start({ 'x-telegram-bot-api-secret-token': SECRET });
  const emulator = await startTelegramEmulator(await freePort());
  const mock = await MockPlatformFaults.start(emulator.url);
  const { files, reactions } = addMethods(mock);
  return {
    spec: { type: 'telegram', telegram: { mode, apiURL: mock.url, credentialsRef: { name: 'creds' } } },
    credentials: { 'bot-token': BOT_TOKEN, ...(mode === 'Webhook' && { 'webhook-secret': SECRET }) },
    chat: String(GROUP),
    supports: { threads: true, edits: true, reactions: true, files: true },
    mention: `@${BOT_NAME}`,
    connect: async (url) => {
      relay.to = url;
      if (mode === 'Webhook') await emulator.setWebhook(relay.url);
    },
    say: (text, { thread } = {}) =>
      emulator.say(text, thread === undefined ? {} : { message_thread_id: Number(thread), is_topic_message: true }),
    press: async (id, data) => {
      await emulator.press(id, data).catch(() => {}); // it throws when it was refused
      return mode === 'Webhook' ? (relay.calls.at(-1)?.status ?? 0) : 200;
    },
    ...(mode === 'Webhook' && {
      repeat: async (change: 'none' | 'forged' = 'none') => {
        const last = relay.calls.at(-1);
        if (last === undefined) throw new Error('Telegram has not called yet');
        return relay.again(last, change === 'forged' ? { 'x-telegram-bot-api-secret-token': 'guessed' } : {});
      },
    }),
    seen: async () => [...emulator.sent(), ...files],
    faults: {
      mock,
      send: 'sendMessage',
      tooMany: (seconds) => ({
        type: 'answer',
        status: 429,
        body: { ok: false, error_code: 429, description: 'Too Many Requests: retry later', parameters: { retry_after: seconds } },
      }),
      gone: {
        method: 'editMessageText',
        fault: { type: 'answer', status: 400, body: { ok: false, error_code: 400, description: 'Bad Request: message to edit not found' } },
      },
      reactions: async () => [...reactions.values()],
    },
    close: async () => {
      await mock.close();
      await emulator.close();
      await relay.close();
    },
  };
}

describeChannel('telegram over webhooks', () => telegram('Webhook'));
describeChannel('telegram by polling', () => telegram('Poll'));

describe('polling', () => {
  const open: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });

  /** getUpdates as documented: what is below the offset is confirmed and forgotten. The emulator forgets what it has shown. */
  async function server(): Promise<{
    mock: MockPlatformFaults;
    pending: { update_id: number; message: object }[];
    offsets: (number | undefined)[];
  }> {
    const mock = await MockPlatformFaults.start('');
    open.push(() => mock.close());
    const pending: { update_id: number; message: object }[] = [];
    const offsets: (number | undefined)[] = [];
    mock.answer('getMe', () => ({ ok: true, result: { id: 666, is_bot: true, first_name: 'Bot', username: BOT_NAME } }));
    mock.answer('deleteWebhook', () => ({ ok: true, result: true }));
    mock.answer('getUpdates', ({ body }) => {
      const { offset } = JSON.parse(body.toString()) as { offset?: number };
      offsets.push(offset);
      while (offset !== undefined && pending[0] !== undefined && pending[0].update_id < offset) pending.shift();
      return { ok: true, result: pending.slice(0, 100) };
    });
    return { mock, pending, offsets };
  }
  const update = (id: number, text: string) => ({
    update_id: id,
    message: { message_id: id, date: 1, text, chat: { id: GROUP, type: 'group', title: 'G' }, from: { id: 77, first_name: 'Alice' } },
  });
  async function gatewayFor(mock: MockPlatformFaults): Promise<TestGateway> {
    const gateway = await testGateway(
      handCaches({
        channels: [channel('team', { type: 'telegram', telegram: { mode: 'Poll', apiURL: mock.url, credentialsRef: { name: 'creds' } } })],
        messagingGroups: [anyChat('team')],
        agentGroups: [agentGroup('helper')],
      }),
      { secretValues: { creds: { 'bot-token': BOT_TOKEN } }, limits: { keeper: { retry: { baseMs: 10, maxMs: 50 } } } },
    );
    open.push(() => gateway.close());
    return gateway;
  }

  test('the offset moves on only when the updates are durable', async () => {
    const { mock, pending, offsets } = await server();
    const gateway = await gatewayFor(mock);
    const held = Promise.withResolvers<void>();
    gateway.inbox.gate = held.promise;
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    pending.push(update(10, 'a'), update(11, 'b'));
    await eventually('they have been fetched', () => mock.callsOf('getUpdates').length > 0);
    expect(offsets.every((offset) => offset === undefined)).toBe(true);
    held.resolve();
    await eventually('the offset moved', () => offsets.includes(12));
    expect(gateway.inbox.texts()).toEqual(['a', 'b']);
    expect(offsets).not.toContain(11);
  });

  test('what one owner did not confirm, the next one gets; what it did, is not stored twice', async () => {
    const { mock, pending } = await server();
    const one = await gatewayFor(mock);
    pending.push(update(10, 'a'));
    await eventually('it is stored', () => one.inbox.enqueued.length === 1);
    await one.gateway.close();
    expect(pending).toEqual([]); // confirmed at the hand-over
    pending.push(update(11, 'b'));
    const two = await gatewayFor(mock);
    await eventually('it is stored', () => two.inbox.enqueued.length === 1);
    expect(two.inbox.texts()).toEqual(['b']);
  });

  test('an update of bad form is passed over, and those behind it are stored', async () => {
    const { mock, pending } = await server();
    const gateway = await gatewayFor(mock);
    pending.push({ update_id: 10, message: { message_id: 'not a number' } }, update(11, 'behind'));
    await eventually('it is stored', () => gateway.inbox.enqueued.length === 1);
    expect(gateway.inbox.texts()).toEqual(['behind']);
  });

  test('another process that asks too is said in the status, and polling goes on when it is gone', async () => {
    const { mock, pending } = await server();
    mock.next('getUpdates', {
      type: 'answer',
      status: 409,
      body: { ok: false, error_code: 409, description: 'Conflict: terminated by other getUpdates request' },
    });
    const gateway = await gatewayFor(mock);
    await eventually('it is said', () =>
      gateway.statuses.some(({ status: said }) => said.conditions[0]?.message.includes('terminated by other getUpdates') === true),
    );
    pending.push(update(10, 'later'));
    await eventually('it is stored', () => gateway.inbox.enqueued.length === 1);
    await eventually('it is connected', () => gateway.statuses.at(-1)?.status.conditions[0]?.status === 'True');
  });
});

describe('updates', () => {
  const context = {
    channel: 'team',
    self: { id: 666, username: BOT_NAME },
    attachment: ({ file_id }: { file_id: string }, name: string, mimeType: string) => ({
      name,
      mimeType,
      sizeBytes: 1,
      open: () => Promise.reject(new Error(file_id)),
    }),
    onOwnMessage: () => {},
  };
  const base = {
    message_id: 5,
    date: 100,
    chat: { id: GROUP, type: 'supergroup', title: 'G' },
    from: { id: 77, first_name: 'Alice', last_name: 'L' },
  };
  const one = (message: object, kind = 'message'): Partial<IncomingEvent> & Record<string, unknown> =>
    (parseUpdate({ update_id: 1, [kind]: { ...base, ...message } }, context)[0] ?? {}) as unknown as Record<string, unknown>;

  test.each<[string, object, object]>([
    [
      'a plain message',
      { text: 'hi' },
      {
        type: 'message',
        eventId: 'team/-4200/5',
        chat: '-4200',
        chatClass: 'Group',
        sender: '77',
        senderName: 'Alice L',
        mentioned: false,
        thread: '',
      },
    ],
    ['a private chat', { text: 'hi', chat: { id: 77, type: 'private', first_name: 'Alice' } }, { chat: '77', chatClass: 'Direct' }],
    ['a mention', { text: `hey @${BOT_NAME.toLowerCase()}, you` }, { mentioned: true }],
    ['a longer name', { text: `hey @${BOT_NAME}2` }, { mentioned: false }],
    ['a command to us', { text: `/start@${BOT_NAME}` }, { mentioned: true }],
    [
      'a mention of one without a name',
      { text: 'you', entities: [{ type: 'text_mention', offset: 0, length: 3, user: { id: 666 } }] },
      { mentioned: true },
    ],
    [
      'an answer to us',
      { text: 'yes', reply_to_message: { message_id: 4, text: 'well?', from: { id: 666, first_name: 'Bot' } } },
      { mentioned: true, quoted: { platformMessageId: '4', senderName: 'Bot', text: 'well?' } },
    ],
    [
      'a topic',
      { text: 'hi', is_topic_message: true, message_thread_id: 9, reply_to_message: { message_id: 9, forum_topic_created: {} } },
      { thread: '9' },
    ],
    [
      'a photo with a caption',
      {
        caption: 'look',
        photo: [
          { file_id: 's', file_size: 1 },
          { file_id: 'l', file_size: 9 },
        ],
      },
      { text: 'look', attachments: [{ name: 'photo.jpg' }] },
    ],
    [
      'a document',
      { document: { file_id: 'd', file_name: 'a.pdf', mime_type: 'application/pdf' } },
      { text: '', attachments: [{ name: 'a.pdf', mimeType: 'application/pdf' }] },
    ],
    [
      'an anonymous admin',
      {
        text: 'hi',
        from: { id: 1087968824, is_bot: true, first_name: 'Group' },
        sender_chat: { id: GROUP, type: 'supergroup', title: 'G' },
      },
      { sender: '-4200', senderName: 'G', senderIsBot: false },
    ],
    ['another bot', { text: 'hi', from: { id: 9, is_bot: true, first_name: 'B' } }, { senderIsBot: true }],
    ['a place', { location: { latitude: 1, longitude: 2 } }, { text: '[a message that cannot be shown here: location]' }],
  ])('%s', (_, message, expected) => expect(one(message)).toMatchObject(expected));

  test('a message in a topic quotes nothing', () =>
    expect(
      one({ text: 'hi', is_topic_message: true, message_thread_id: 9, reply_to_message: { message_id: 9, forum_topic_created: {} } }),
    ).not.toHaveProperty('quoted'));
  test('an edit', () =>
    expect(one({ text: 'new' }, 'edited_message')).toMatchObject({
      type: 'edited',
      eventId: 'team/update/1',
      platformMessageId: '5',
      text: 'new',
    }));
  test('someone joins: nobody said anything', () =>
    expect(parseUpdate({ update_id: 1, message: { ...base, new_chat_members: [{}] } }, context)).toEqual([]));
  test('our own words are not events', () =>
    expect(parseUpdate({ update_id: 1, message: { ...base, text: 'x', from: { id: 666 } } }, context)).toEqual([]));
  test('an update of another kind is none', () => expect(parseUpdate({ update_id: 1, my_chat_member: {} }, context)).toEqual([]));
});
