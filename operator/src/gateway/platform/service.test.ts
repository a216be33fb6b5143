import type { ChannelSpecInput } from '@dovecote/crds';
import { platform as proto } from '@dovecote/proto';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { Outcome } from '../channels/channel.ts';
import { eventually } from '../testing/eventually.ts';
import { channel, handCaches } from '../testing/objects.ts';
import { type ScriptedChannel, scriptedChannel } from '../testing/scripted-channel.ts';
import { type TestGateway, testGateway } from '../testing/test-gateway.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start(
  options: Parameters<typeof testGateway>[1] & { readonly spec?: Partial<ChannelSpecInput> } = {},
): Promise<{ gateway: TestGateway; platform: ScriptedChannel }> {
  const platform = scriptedChannel();
  const { spec, ...rest } = options;
  const gateway = await testGateway(handCaches({ channels: [channel('team', { type: 'local', ...spec })] }), {
    channelTypes: { local: platform.type },
    ...rest,
  });
  open.push(() => gateway.close());
  await eventually('the channel is connected', () => gateway.gateway.channelProblems().length === 0);
  return { gateway, platform };
}

async function readAll(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const to = { channel: 'team', chat: 'chat' };
const text = (value: string): string => JSON.stringify({ text: value });
const long = Array.from({ length: 10 }, (_, i) => `Sentence number ${i} is of some length.`).join(' ');

describe('Deliver', () => {
  test('renders the text for the platform and answers with its id', async () => {
    const { gateway, platform } = await start();
    const { outcome } = await gateway.deliver({ ...to, thread: 'T', replyToMessageId: 'R', content: text('**hi** & bye') });
    expect(outcome).toEqual({ $case: 'delivered', value: { platformMessageId: 'p1', more: false } });
    expect(platform.delivered).toMatchObject([
      { chat: 'chat', thread: 'T', replyTo: 'R', outgoing: { kind: 'text', text: '*hi* &amp; bye' } },
    ]);
  });

  test('a long text goes out in parts, one call each, and nothing is lost', async () => {
    const { gateway, platform } = await start();
    let more = true;
    for (let part = 0; more; part++) {
      const { outcome } = await gateway.deliver({ ...to, content: text(long), part });
      if (outcome?.$case !== 'delivered') throw new Error('not delivered');
      more = outcome.value.more;
    }
    const texts = platform.delivered.map(({ outgoing }) => (outgoing.kind === 'text' ? outgoing.text : ''));
    expect(texts.length).toBeGreaterThan(2);
    for (const piece of texts) expect(piece.length).toBeLessThanOrEqual(100);
    expect(texts.join(' ')).toBe(long);
  });

  test('a part again, by another replica, is the same part', async () => {
    const { gateway, platform } = await start();
    const other = await start();
    await gateway.deliver({ ...to, content: text(long), part: 2 });
    await other.gateway.deliver({ ...to, content: text(long), part: 2 });
    expect(other.platform.delivered[0]?.outgoing).toEqual(platform.delivered[0]?.outgoing);
  });

  test('an edit too long for one message goes on in new ones', async () => {
    const { gateway, platform } = await start();
    const edit = { ...to, kind: proto.OutboundKind.EDIT, content: JSON.stringify({ target: 3, text: long }), targetMessageId: 'm' };
    await gateway.deliver({ ...edit, part: 0 });
    await gateway.deliver({ ...edit, part: 1 });
    expect(platform.delivered.map(({ outgoing }) => outgoing.kind)).toEqual(['edit', 'text']);
  });

  test('reactions, cards and questions', async () => {
    const { gateway, platform } = await start();
    await gateway.deliver({ ...to, kind: proto.OutboundKind.REACTION, content: '{"target":3,"emoji":"🎉"}', targetMessageId: 'm' });
    const card = {
      title: 'Build',
      text: 'done',
      fields: [{ label: 'Time', value: '3 s' }],
      links: [{ label: 'Log', url: 'https://x.example' }],
      fallback: '',
    };
    await gateway.deliver({ ...to, kind: proto.OutboundKind.CARD, content: JSON.stringify(card) });
    const question = {
      questionId: 'q',
      title: 'Deploy?',
      text: '',
      options: [
        { label: 'Yes', value: 'y' },
        { label: 'No', value: 'n' },
      ],
      expiresAt: 0,
    };
    await gateway.deliver({ ...to, kind: proto.OutboundKind.QUESTION, content: JSON.stringify(question) });
    expect(platform.delivered.map(({ outgoing }) => outgoing)).toEqual([
      { kind: 'reaction', target: 'm', emoji: '🎉' },
      { kind: 'card', text: '*Build*\n\ndone\n\n• *Time:* 3 s\n• <https://x.example|Log>', card },
      { kind: 'text', text: '*Deploy?*\n\n1. Yes\n2. No' },
    ]);
  });

  test('what the platform has no way to do is refused with a sentence for the agent, never retried', async () => {
    const platform = scriptedChannel({ supports: { edits: false, reactions: false } });
    const gateway = await testGateway(handCaches({ channels: [channel('team', { type: 'local' })] }), {
      channelTypes: { local: platform.type },
    });
    open.push(() => gateway.close());
    await eventually('the channel is connected', () => gateway.gateway.channelProblems().length === 0);
    const refusal = async (kind: proto.OutboundKind, content: object): Promise<unknown> =>
      (await gateway.deliver({ ...to, kind, content: JSON.stringify(content), targetMessageId: 'm' })).outcome;
    expect(await refusal(proto.OutboundKind.EDIT, { target: 3, text: 'x' })).toEqual({
      $case: 'refused',
      value: { reason: 'Unsupported', message: 'messages cannot be edited on local' },
    });
    expect(await refusal(proto.OutboundKind.REACTION, { target: 3, emoji: '🎉' })).toMatchObject({ value: { reason: 'Unsupported' } });
    expect(platform.delivered).toEqual([]);
  });

  test.each<[string, Partial<proto.DeliverRequest>, string]>([
    ['a blank text', { content: text(' \n ') }, 'Invalid'],
    ['content that is not JSON', { content: '{' }, 'Invalid'],
    ['content that lacks its text', { content: '{}' }, 'Invalid'],
  ])('%s is refused, never retried', async (_, request, reason) => {
    const { gateway, platform } = await start();
    expect((await gateway.deliver({ ...to, ...request })).outcome).toMatchObject({ $case: 'refused', value: { reason } });
    expect(platform.delivered).toEqual([]);
  });

  test('no Channel, or none that has connected, is a retry and not a success', async () => {
    const { gateway } = await start();
    expect((await gateway.deliver({ channel: 'gone', chat: 'c', content: text('hi') })).outcome).toMatchObject({
      $case: 'retry',
      value: { reason: 'NoAdapter', maybeSent: false },
    });
  });

  test('what the platform answers is passed on', async () => {
    const { gateway, platform } = await start();
    platform.outcomes.push(async () => ({ type: 'retry', reason: 'RateLimited', message: 'slow down', afterMs: 7_000, maybeSent: false }));
    platform.outcomes.push(async () => ({ type: 'refused', reason: 'NotFound', message: 'no such chat' }));
    expect((await gateway.deliver({ ...to, content: text('hi') })).outcome).toEqual({
      $case: 'retry',
      value: { reason: 'RateLimited', message: 'slow down', afterMs: 7_000, maybeSent: false },
    });
    expect((await gateway.deliver({ ...to, content: text('hi') })).outcome).toEqual({
      $case: 'refused',
      value: { reason: 'NotFound', message: 'no such chat' },
    });
  });

  test('a platform that never answers is given up: maybe sent; and meanwhile holds up nobody', async () => {
    const { gateway, platform } = await start({ limits: { platform: { callMs: 200 } } });
    platform.outcomes.push(() => new Promise<Outcome>(() => {}));
    const stuck = gateway.deliver({ ...to, chat: 'stuck', content: text('hi') });
    expect((await gateway.deliver({ ...to, chat: 'other', content: text('hi') })).outcome?.$case).toBe('delivered');
    expect((await stuck).outcome).toMatchObject({ $case: 'retry', value: { reason: 'NoAnswer', maybeSent: true } });
  });

  test('a channel that throws is a retry that may have been sent', async () => {
    const { gateway, platform } = await start();
    platform.outcomes.push(() => Promise.reject(new Error('a bug, with token xoxb-secret')));
    const { outcome } = await gateway.deliver({ ...to, content: text('hi') });
    expect(outcome).toMatchObject({ $case: 'retry', value: { reason: 'Internal', maybeSent: true } });
    expect(JSON.stringify(outcome)).not.toContain('xoxb');
  });

  test('the same key while the first call runs joins it: one message', async () => {
    const { gateway, platform } = await start();
    const answer = Promise.withResolvers<Outcome>();
    platform.outcomes.push(() => answer.promise);
    const request = { ...to, content: text('hi'), idempotencyKey: 's/1/0' };
    const first = gateway.deliver(request);
    await eventually('the first is at the platform', () => platform.delivered.length === 1);
    const second = gateway.deliver({ ...request, attempt: 2 });
    // Behind it on the same connection: when this one is answered, the second is in hand.
    await gateway.deliver({ ...to, chat: 'other', content: text('hi') });
    answer.resolve({ type: 'delivered', platformMessageId: 'only' });
    expect([await first, await second].map(({ outcome }) => outcome)).toEqual(
      Array(2).fill({ $case: 'delivered', value: { platformMessageId: 'only', more: false } }),
    );
    expect(platform.delivered.map(({ chat }) => chat)).toEqual(['chat', 'other']);
  });

  test('crash points are passed around the platform call', async () => {
    const reached: string[] = [];
    const { gateway } = await start({ reached: (point) => reached.push(point) });
    await gateway.deliver({ ...to, content: text('hi') });
    expect(reached).toEqual(['gateway/before-platform-call', 'gateway/after-platform-call']);
  });
});

describe('DeliverFile', () => {
  const file = {
    ...to,
    kind: proto.OutboundKind.FILE,
    content: JSON.stringify({ path: 'outbox/1/a.txt', name: 'a.txt', mimeType: 'text/plain', sizeBytes: 6, text: 'see' }),
  };

  test('the bytes arrive whole, with the caption', async () => {
    const { gateway, platform } = await start();
    const { outcome } = await gateway.deliverFile(file, [Buffer.from('abc'), Buffer.from('def')]);
    expect(outcome).toMatchObject({ $case: 'delivered' });
    const sent = platform.delivered[0]?.outgoing;
    if (sent?.kind !== 'file') throw new Error('no file');
    expect(sent).toMatchObject({ name: 'a.txt', mimeType: 'text/plain', sizeBytes: 6, caption: 'see' });
    expect((await readAll(sent.bytes)).toString()).toBe('abcdef');
  });

  test.each([9, 5])('a file of 6 bytes that was announced with %d is not taken for whole', async (announced) => {
    const { gateway, platform } = await start();
    const { outcome } = await gateway.deliverFile(file, [Buffer.from('abc'), Buffer.from('def')], announced);
    expect(outcome).toMatchObject({ $case: 'retry', value: { maybeSent: true } });
    expect(platform.delivered).toEqual([]);
  });

  test('a file over the limit is refused before a byte is read', async () => {
    const { gateway, platform } = await start({ spec: { maxAttachmentBytes: '4' } });
    expect((await gateway.deliverFile(file, [Buffer.from('abcdef')])).outcome).toMatchObject({
      $case: 'refused',
      value: { reason: 'TooLarge' },
    });
    expect(platform.delivered).toEqual([]);
  });

  test('a large file that is refused does not hang its sender', async () => {
    const { gateway } = await start({ spec: { maxAttachmentBytes: '4' } });
    const chunks = Array.from({ length: 80 }, () => Buffer.alloc(256 * 1024));
    expect((await gateway.deliverFile(file, chunks)).outcome).toMatchObject({ $case: 'refused', value: { reason: 'TooLarge' } });
    expect((await gateway.deliver({ ...to, content: text('still here') })).outcome?.$case).toBe('delivered');
  });
});

describe('Settle', () => {
  test.each<[ScriptedChannel['settlement'], Partial<proto.SettleResponse>]>([
    [
      { type: 'sent', platformMessageId: 'm' },
      { verdict: proto.SettleResponse_Verdict.SENT, platformMessageId: 'm', more: true },
    ],
    [{ type: 'not-sent' }, { verdict: proto.SettleResponse_Verdict.NOT_SENT }],
    [{ type: 'unknowable' }, { verdict: proto.SettleResponse_Verdict.UNKNOWABLE, policy: 'DeadLetter' }],
    [{ type: 'try-later' }, { verdict: proto.SettleResponse_Verdict.TRY_LATER }],
  ])('%j', async (settlement, expected) => {
    const { gateway, platform } = await start({ spec: { inDoubt: 'DeadLetter' } });
    platform.settlement = settlement;
    expect(await gateway.settle({ ...to, content: text(long) }, 0)).toMatchObject(expected);
  });

  test('a message that is on its way is waited for, and its own outcome is the answer', async () => {
    const { gateway, platform } = await start();
    const answer = Promise.withResolvers<Outcome>();
    platform.outcomes.push(() => answer.promise);
    platform.settlement = { type: 'not-sent' };
    const request = { ...to, content: text('hi'), idempotencyKey: 's/1/0' };
    const sending = gateway.deliver(request);
    await eventually('it is at the platform', () => platform.delivered.length === 1);
    const settling = gateway.settle(request, 0);
    await gateway.deliver({ ...to, chat: 'other', content: text('hi') });
    answer.resolve({ type: 'delivered', platformMessageId: 'only' });
    await sending;
    expect(await settling).toMatchObject({ verdict: proto.SettleResponse_Verdict.SENT, platformMessageId: 'only' });
  });

  test('a Channel that is not connected is asked later', async () => {
    const { gateway } = await start();
    expect((await gateway.settle({ ...to, channel: 'gone', content: text('x') }, 0)).verdict).toBe(proto.SettleResponse_Verdict.TRY_LATER);
  });
});

test('only delivery may call', async () => {
  const { gateway } = await start();
  await expect(
    testGateway(handCaches({}), { inbox: gateway.inbox }).then(async (other) => {
      open.push(() => other.close());
      const { credentials, Metadata } = await import('@grpc/grpc-js');
      const client = new proto.PlatformClient(gateway.gateway.grpcAddress, credentials.createInsecure());
      const metadata = new Metadata();
      metadata.set('authorization', 'Bearer gateway dovecote-gateway');
      try {
        await new Promise((resolve, reject) =>
          client.typing({ channel: '', chat: '', thread: '' }, metadata, (e, r) => (e === null ? resolve(r) : reject(e))),
        );
      } finally {
        client.close();
      }
    }),
  ).rejects.toThrow('PERMISSION_DENIED');
});
