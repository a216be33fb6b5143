import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { StatusError } from '../../lib/grpc.ts';
import type { IncomingAttachment, IncomingMessage } from '../channels/channel.ts';
import { localAnswer } from '../channels/local/local.ts';
import type { GatewayContext, GatewayDeps } from '../start.ts';
import { eventually } from '../testing/eventually.ts';
import { agentGroup, channel, type HandCaches, handCaches, messagingGroup } from '../testing/objects.ts';
import { scriptedMessage } from '../testing/scripted-channel.ts';
import { ASKING } from '../testing/scripted-inbox.ts';
import { type TestGateway, testGateway } from '../testing/test-gateway.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start(more: Partial<GatewayDeps> = {}): Promise<{
  gateway: TestGateway;
  caches: HandCaches;
  receive: (...events: Partial<IncomingMessage>[]) => ReturnType<GatewayContext['receive']>;
  /** The same on another Channel. */
  receiveElsewhere: (event: Partial<IncomingMessage>) => ReturnType<GatewayContext['receive']>;
  /** A file ahead of its message. */
  stage: (attachment: IncomingAttachment) => ReturnType<GatewayContext['stage']>;
  /** Presses that option of the question 5. */
  press: (option: number) => ReturnType<GatewayContext['receive']>;
}> {
  let context: GatewayContext | undefined;
  const caches = handCaches({
    channels: [channel('web', { type: 'local' }), channel('other', { type: 'local' })],
    messagingGroups: ['web', 'other'].map((channelRef) =>
      messagingGroup(`any-${channelRef}`, {
        channelRef,
        chatClass: 'Any',
        unknownSenders: 'Public',
        agents: [{ agentGroupRef: 'helper' }],
      }),
    ),
    agentGroups: [agentGroup('helper')],
  });
  const gateway = await testGateway(caches, {
    plugins: [
      (_app, given) => {
        context = given;
      },
    ],
    ...more,
  });
  open.push(() => gateway.close());
  const given = context;
  if (given === undefined) throw new Error('the plugin was not called');
  return {
    gateway,
    caches,
    press: (option) => {
      const pointer = { session: ASKING, questionSeq: 5, option };
      return given.receive('web', [localAnswer({ channel: 'web', chat: 'chat', id: 'p', sender: 'alice', pointer, pressedAtMs: 0 })]);
    },
    stage: (file) => given.stage('web', scriptedMessage('web', {}), file),
    receiveElsewhere: (event) => given.receive('other', [scriptedMessage('other', event)]),
    receive: (...events) =>
      given.receive(
        'web',
        events.map((event) => scriptedMessage('web', event)),
      ),
  };
}

const attachment = (name: string, chunks: number, chunkBytes: number, more: Partial<IncomingAttachment> = {}): IncomingAttachment => ({
  name,
  mimeType: 'application/octet-stream',
  sizeBytes: 0,
  open: async () => {
    const chunk = Buffer.alloc(chunkBytes, 'x');
    return ReadableStream.from(Array.from({ length: chunks }, () => chunk));
  },
  ...more,
});

describe('order', () => {
  test('events of one chat are stored in the order in which they were received, though each waits for delivery', async () => {
    const { gateway, receive } = await start();
    const texts = Array.from({ length: 200 }, (_, i) => `m${i}`);
    await Promise.all(texts.map((text) => receive({ eventId: text, text })));
    expect(gateway.inbox.texts()).toEqual(texts);
  });

  test('a chat that waits does not hold up another', async () => {
    const { gateway, receive } = await start();
    const held = Promise.withResolvers<void>();
    gateway.inbox.gate = held.promise;
    const stuck = receive({ eventId: '1', chat: 'stuck' });
    const behind = receive({ eventId: '2', chat: 'stuck' });
    await eventually('both wait in delivery', () => gateway.inbox.waiting === 2);
    gateway.inbox.gate = Promise.resolve();
    await receive({ eventId: '3', chat: 'free', text: 'free' });
    expect(gateway.inbox.texts()).toEqual(['free']);
    held.resolve();
    await Promise.all([stuck, behind]);
  });
});

describe('limits', () => {
  test('when too many wait, one more is refused at once and not remembered', async () => {
    const { gateway, receive } = await start({ limits: { intake: { concurrent: 1, waiting: 1 } } });
    const held = Promise.withResolvers<void>();
    gateway.inbox.gate = held.promise;
    const working = receive({ eventId: '1', chat: 'a' });
    await eventually('one is worked on', () => gateway.inbox.waiting === 1);
    const waiting = receive({ eventId: '2', chat: 'b' });
    await new Promise((resolve) => setImmediate(resolve));
    await expect(receive({ eventId: '3', chat: 'c' })).rejects.toThrow('too many others wait');
    held.resolve();
    await Promise.all([working, waiting]);
    await receive({ eventId: '3', chat: 'c' });
    expect(gateway.inbox.enqueued).toHaveLength(3);
  });

  test('a Channel whose files hang has all its turns taken, and another is as quick as ever', async () => {
    const { gateway, receive, receiveElsewhere } = await start({ limits: { intake: { concurrent: 1, waiting: 1 } } });
    const hangs = Promise.withResolvers<AsyncIterable<Uint8Array>>();
    const first = receive({ eventId: '1', chat: 'a', attachments: [attachment('slow', 1, 1, { open: () => hangs.promise })] });
    const second = receive({ eventId: '2', chat: 'a' });
    await expect(receive({ eventId: '3', chat: 'a' })).rejects.toThrow('too many others wait'); // behind it in its chat
    await receiveElsewhere({ eventId: '4', text: 'elsewhere' });
    expect(gateway.inbox.texts()).toEqual(['elsewhere']);
    hangs.resolve(ReadableStream.from([Buffer.from('x')]));
    await Promise.all([first, second]);
  });

  test('closing ends what waits for a shard that is away', async () => {
    const { gateway, receive } = await start();
    gateway.inbox.failures.push(...Array.from({ length: 1_000 }, () => new StatusError(status.UNAVAILABLE, 'away')));
    const waiting = receive({ eventId: '1' });
    const rejected = expect(waiting).rejects.toThrow('shuts down');
    await eventually('it is being tried', () => gateway.inbox.calls > 0);
    await gateway.gateway.close();
    await rejected;
  });
});

test('nothing is routed, and so nothing dropped, before the wirings have been read', async () => {
  const { gateway, receive, caches } = await start();
  const [group] = caches.messagingGroups.list();
  if (group === undefined) throw new Error('no group');
  caches.messagingGroups.delete(group.metadata.name);
  let looks = 0;
  Object.defineProperty(caches.messagingGroups, 'hasSynced', {
    get: () => {
      looks += 1;
      if (looks === 3) caches.messagingGroups.set(group);
      return looks >= 3;
    },
  });
  await receive({ eventId: '1', text: 'early' });
  expect([gateway.inbox.drops, gateway.inbox.texts()]).toEqual([[], ['early']]);
});

describe('receipts', () => {
  test('tell who does not hear of an event, and why', async () => {
    const { receive } = await start();
    expect(await receive({ eventId: '1' })).toEqual([{ eventId: 'web/chat/1', drops: [] }]);
    const [receipt] = await receive({ eventId: '2', mentioned: false });
    expect(receipt?.drops).toMatchObject([{ agentGroup: 'helper', reason: 'NotEngaged' }]);
  });
});

test('an answer does not wait for the files of what was said before it', async () => {
  const { gateway, receive, press } = await start();
  const paused = Promise.withResolvers<void>();
  gateway.inbox.stageGate = paused.promise;
  const received = receive({ eventId: '1', attachments: [attachment('slow.bin', 1, 10)] });
  const [receipt] = await press(1);
  expect(receipt).toMatchObject({ drops: [], answered: { label: 'Not now', answeredBy: 'alice' } });
  expect(gateway.inbox.enqueued).toEqual([]);
  paused.resolve();
  await received;
});

test('an answer that delivery refuses for good is dropped with its sentence: a platform that came again with it would come for ever', async () => {
  const { gateway, press } = await start();
  gateway.inbox.failures.push(new StatusError(status.INVALID_ARGUMENT, 'event.sender_name is longer than 512 bytes'));
  const [receipt] = await press(1);
  expect(receipt?.drops).toMatchObject([{ reason: 'InboxRefused', detail: expect.stringContaining('sender_name') }]);
  expect(gateway.inbox.drops).toMatchObject([{ reason: 'InboxRefused' }]);
});

describe('a file that comes ahead of its message', () => {
  test('goes to every agent of the chat, though it can be read once, and each gets its own with the message', async () => {
    const { gateway, caches, receive, stage } = await start();
    const agents = [{ agentGroupRef: 'helper' }, { agentGroupRef: 'other' }];
    caches.agentGroups.set(agentGroup('other'));
    caches.messagingGroups.set(messagingGroup('any', { channelRef: 'web', chatClass: 'Any', unknownSenders: 'Public', agents }));
    let opened = 0;
    const file = attachment('a.bin', 4, 100_000);
    const staged = await stage({
      ...file,
      open: (signal) => {
        opened += 1;
        return file.open(signal);
      },
    });
    expect([opened, gateway.inbox.staged.map(({ bytes }) => bytes)]).toEqual([1, [400_000, 400_000]]);
    const never = (): Promise<never> => Promise.reject(new Error('it must not be fetched again'));
    await receive({ eventId: '1', attachments: [{ ...file, sizeBytes: 400_000, open: never, staged }] });
    const named = gateway.inbox.enqueued.map(({ agentGroup: to, event }) => [to, event?.attachments[0]?.stagedId]);
    expect(named.sort()).toEqual(staged.map((one) => [one.agentGroup, one.stagedId]).sort());
  });

  test('too large a one is refused with a sentence, and one that was staged for another agent is a sentence in the event', async () => {
    const { gateway, caches, receive, stage } = await start();
    caches.channels.set(channel('web', { type: 'local', maxAttachmentBytes: '1Ki' }));
    await expect(stage(attachment('a.bin', 2, 1_000))).rejects.toThrow('"a.bin" was not taken: it is larger than the limit of 0 MiB');
    const staged = [{ agentGroup: 'stranger', shard: '0', stagedId: 'x' }];
    await receive({ eventId: '1', attachments: [attachment('b.bin', 1, 10, { staged })] });
    expect(gateway.inbox.enqueued[0]?.event).toMatchObject({
      attachments: [],
      attachmentErrors: ['"b.bin" was not taken: it was not sent to this agent; send it again'],
    });
  });
});

describe('attachments', () => {
  test('are streamed to the shard in chunks before the event that names them', async () => {
    const { gateway, receive } = await start();
    await receive({ eventId: '1', attachments: [attachment('big.bin', 20, 1024 * 1024, { sizeBytes: 20 * 1024 * 1024 })] });
    const [staged] = gateway.inbox.staged;
    expect(staged).toMatchObject({ bytes: 20 * 1024 * 1024, info: { agentGroup: 'helper', name: 'big.bin' } });
    expect(staged?.largestChunk).toBeLessThanOrEqual(256 * 1024);
    expect(gateway.inbox.enqueued[0]?.event?.attachments).toEqual([
      { stagedId: 'staged-1', name: 'big.bin', mimeType: 'application/octet-stream', sizeBytes: 20 * 1024 * 1024 },
    ]);
  });

  test('do not pass through memory whole: the platform is read no faster than the shard writes', async () => {
    const { gateway, receive } = await start();
    const paused = Promise.withResolvers<void>();
    gateway.inbox.stageGate = paused.promise;
    let produced = 0;
    const endless = async function* (): AsyncIterable<Uint8Array> {
      for (let i = 0; i < 24; i++) {
        produced += 1;
        yield Buffer.alloc(1024 * 1024);
      }
    };
    const received = receive({ eventId: '1', attachments: [attachment('slow.bin', 0, 0, { open: async () => endless() })] });
    await eventually('it has begun', () => produced > 0);
    await receive({ eventId: '2', chat: 'other', text: 'meanwhile' }); // a whole round trip later
    expect(produced).toBeLessThan(12);
    paused.resolve();
    await received;
    expect(produced).toBe(24);
    expect(gateway.inbox.staged[0]?.bytes).toBe(24 * 1024 * 1024);
  });

  test.each<[string, IncomingAttachment, RegExp]>([
    [
      'announced too large',
      attachment('a.bin', 1, 1, { sizeBytes: 26 * 1024 * 1024 }),
      /^"a.bin" was not taken: it has 26 MiB, and the limit is 25 MiB$/,
    ],
    [
      'larger than announced',
      attachment('b.bin', 30, 1024 * 1024, { sizeBytes: 1 }),
      /^"b.bin" was not taken: it is larger than the limit of 25 MiB$/,
    ],
    [
      'not given by the platform',
      attachment('c.bin', 0, 0, { open: () => Promise.reject(new Error('HTTP 403')) }),
      /^"c.bin" was not taken: the platform did not give it \(HTTP 403\)$/,
    ],
  ])('%s: the message goes on with a sentence', async (_, bad, sentence) => {
    const { gateway, receive } = await start();
    await receive({ eventId: '1', text: 'see', attachments: [bad, attachment('good.bin', 1, 10)] });
    const event = gateway.inbox.enqueued[0]?.event;
    expect(event?.attachmentErrors).toEqual([expect.stringMatching(sentence)]);
    expect(event?.attachments.map(({ name }) => name)).toEqual(['good.bin']);
  });

  test('that the platform gives at the second try are taken', async () => {
    const { gateway, receive } = await start();
    let tries = 0;
    const flaky = attachment('f.bin', 0, 0, {
      open: async () => {
        tries += 1;
        if (tries === 1) throw new Error('reset');
        return ReadableStream.from([Buffer.from('ok')]);
      },
    });
    await receive({ eventId: '1', attachments: [flaky] });
    expect(gateway.inbox.enqueued[0]?.event?.attachments).toHaveLength(1);
  });

  test('that the shard has no room for hold the event back: the platform sends it again', async () => {
    const { gateway, receive } = await start();
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    await expect(receive({ eventId: '1', attachments: [attachment('a.bin', 1, 10)] })).rejects.toThrow('volume full');
    expect(gateway.inbox.enqueued).toEqual([]);
  });
});
