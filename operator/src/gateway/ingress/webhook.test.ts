import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../../lib/clock.ts';
import { StatusError } from '../../lib/grpc.ts';
import type { GatewayPlugin } from '../start.ts';
import { eventually } from '../testing/eventually.ts';
import { agentGroup, channel, handCaches, messagingGroup } from '../testing/objects.ts';
import { type ScriptedChannel, scriptedChannel } from '../testing/scripted-channel.ts';
import { ScriptedInbox } from '../testing/scripted-inbox.ts';
import { reviewer, type TestGateway, testGateway } from '../testing/test-gateway.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
const signed = { 'x-signature': 'good' };
const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function started(
  options: Parameters<typeof testGateway>[1] & { readonly platform?: ScriptedChannel } = {},
): Promise<TestGateway & { caches: ReturnType<typeof handCaches> }> {
  const caches = handCaches({
    channels: [channel('team', { type: 'local' })],
    messagingGroups: [
      messagingGroup('any', { channelRef: 'team', chatClass: 'Any', unknownSenders: 'Public', agents: [{ agentGroupRef: 'helper' }] }),
    ],
    agentGroups: [agentGroup('helper')],
  });
  const { platform = scriptedChannel(), ...rest } = options;
  const gateway = await testGateway(caches, { channelTypes: { local: platform.type }, ...rest });
  open.push(() => gateway.close());
  await eventually('the channel is connected', () => gateway.gateway.channelProblems().length === 0);
  return { ...gateway, caches };
}

const events = (...list: object[]): string => JSON.stringify(list);
const sentence = async (response: Response): Promise<string> => ((await response.json()) as { error: string }).error;

describe('acknowledging', () => {
  test('the platform hears 200 only after the event is durable', async () => {
    const held = Promise.withResolvers<void>();
    const gateway = await started();
    gateway.inbox.gate = held.promise;
    let answered = false;
    const post = gateway.post('team', events({ eventId: '1', text: 'hello' }), signed).then((response) => {
      answered = true;
      return response;
    });
    await eventually('the event is in delivery', () => gateway.inbox.waiting === 1);
    expect(answered).toBe(false);
    held.resolve();
    expect((await post).status).toBe(200);
    expect(gateway.inbox.texts()).toEqual(['hello']);
  });

  test('crash points are passed in the order of the path', async () => {
    const reached: string[] = [];
    const gateway = await started({ reached: (point) => reached.push(point) });
    await gateway.post('team', events({ eventId: '1' }), signed);
    expect(reached).toEqual(['gateway/before-enqueue', 'gateway/after-enqueue-before-ack']);
  });

  test('an event that comes again is stored once and answered 200 again, also by another replica', async () => {
    const inbox = await ScriptedInbox.start(reviewer);
    open.push(() => inbox.close());
    const one = await started({ inbox });
    const two = await started({ inbox });
    for (const gateway of [one, one, two])
      expect((await gateway.post('team', events({ eventId: '7', text: 'once' }), signed)).status).toBe(200);
    expect(inbox.texts()).toEqual(['once']);
    expect(inbox.duplicates).toBe(1); // the second replica asked; the first one knew
  });

  test('a failure of delivery is 503 with Retry-After, and the platform’s next try succeeds', async () => {
    const gateway = await started();
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    const refused = await gateway.post('team', events({ eventId: '1', text: 'a' }), signed);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect((await gateway.post('team', events({ eventId: '1', text: 'a' }), signed)).status).toBe(200);
    expect(gateway.inbox.texts()).toEqual(['a']);
  });

  test('a shard that is away for a moment costs no 503', async () => {
    const gateway = await started();
    gateway.inbox.failures.push(
      new StatusError(status.UNAVAILABLE, 'restarting'),
      new StatusError(status.NOT_FOUND, 'not heard of it yet'),
    );
    expect((await gateway.post('team', events({ eventId: '1', text: 'a' }), signed)).status).toBe(200);
    expect(gateway.inbox.texts()).toEqual(['a']);
  });

  test('a delivery slower than the platform’s patience is 503, goes on, and the next try is 200 without doing it again', async () => {
    const held = Promise.withResolvers<void>();
    const gateway = await started({ platform: scriptedChannel({ ackBudgetMs: 50 }) });
    gateway.inbox.gate = held.promise;
    const slow = await gateway.post('team', events({ eventId: '1', text: 'a' }), signed);
    expect([slow.status, await sentence(slow)]).toEqual([503, 'not stored in time; send it again']);
    held.resolve();
    await eventually('it was stored behind the answer', () => gateway.inbox.enqueued.length === 1);
    expect((await gateway.post('team', events({ eventId: '1', text: 'a' }), signed)).status).toBe(200);
    expect([gateway.inbox.enqueued.length, gateway.inbox.duplicates]).toEqual([1, 0]);
  });

  test('what delivery refuses for good is recorded as a drop and acknowledged', async () => {
    const gateway = await started();
    gateway.inbox.failures.push(new StatusError(status.FAILED_PRECONDITION, 'session is suspended'));
    expect((await gateway.post('team', events({ eventId: '1' }), signed)).status).toBe(200);
    expect(gateway.inbox.drops).toMatchObject([
      { reason: 'InboxRefused', agentGroup: 'helper', detail: expect.stringContaining('suspended') },
    ]);
  });

  test('a drop is acknowledged only when its reason is recorded', async () => {
    const gateway = await started();
    gateway.caches.messagingGroups.delete('any');
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    expect((await gateway.post('team', events({ eventId: '1' }), signed)).status).toBe(503);
    expect((await gateway.post('team', events({ eventId: '1' }), signed)).status).toBe(200);
    expect(gateway.inbox.drops).toMatchObject([{ reason: 'Unwired', channel: 'team', chat: 'chat', sender: 'alice' }]);
  });

  test('an agent that does not exist is a recorded drop; one without a shard yet is waited for', async () => {
    const gateway = await started();
    gateway.caches.agentGroups.delete('helper');
    expect((await gateway.post('team', events({ eventId: '1' }), signed)).status).toBe(200);
    expect(gateway.inbox.drops).toMatchObject([{ reason: 'AgentMissing' }]);
    gateway.caches.agentGroups.set(agentGroup('helper', []));
    const waiting = gateway.post('team', events({ eventId: '2', text: 'soon' }), signed);
    gateway.caches.agentGroups.set(agentGroup('helper'));
    expect((await waiting).status).toBe(200);
    expect(gateway.inbox.texts()).toEqual(['soon']);
  });
});

describe('order', () => {
  test('the events of one call are stored in its order, and one that fails holds back those behind it', async () => {
    const gateway = await started();
    const three = events({ eventId: '1', text: 'a' }, { eventId: '2', text: 'b' }, { eventId: '3', text: 'c' });
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    expect((await gateway.post('team', three, signed)).status).toBe(503);
    expect(gateway.inbox.texts()).toEqual([]);
    expect((await gateway.post('team', three, signed)).status).toBe(200);
    expect(gateway.inbox.texts()).toEqual(['a', 'b', 'c']);
  });

  test('a chat whose shard hangs does not hold another chat', async () => {
    const gateway = await started();
    const held = Promise.withResolvers<void>();
    gateway.inbox.gate = held.promise;
    const stuck = gateway.post('team', events({ eventId: '1', chat: 'stuck', text: 'stuck' }), signed);
    await eventually('the stuck one is in delivery', () => gateway.inbox.waiting === 1);
    gateway.inbox.gate = Promise.resolve();
    expect((await gateway.post('team', events({ eventId: '2', chat: 'free', text: 'free' }), signed)).status).toBe(200);
    held.resolve();
    expect((await stuck).status).toBe(200);
  });
});

describe('a caller that is not the platform', () => {
  test('a forged signature is 401, and nothing is parsed or stored', async () => {
    const gateway = await started();
    const response = await gateway.post('team', 'not even JSON', { 'x-signature': 'bad' });
    expect([response.status, await sentence(response)]).toEqual([401, 'the signature is not ours']);
    expect(gateway.inbox.calls).toBe(0);
  });

  test('malformed JSON is 400', async () => {
    const gateway = await started();
    expect((await gateway.post('team', '{"a":', signed)).status).toBe(400);
    expect((await gateway.post('team', '', signed)).status).toBe(400);
  });

  test('JSON nested half a million deep is refused or ignored, and the gateway lives', async () => {
    const gateway = await started();
    const response = await gateway.post('team', '['.repeat(500_000), signed);
    expect(response.status).toBe(400);
    expect((await gateway.post('team', events({ eventId: '1' }), signed)).status).toBe(200);
  });

  test('a body over the limit is 413 with a sentence', async () => {
    const gateway = await started();
    const response = await gateway.post('team', Buffer.alloc(5 * 1024 * 1024, 'x'), signed);
    expect([response.status, await sentence(response)]).toEqual([413, 'the body is larger than the limit of 1048576 bytes']);
  });

  test('an unknown channel is 404, another method 405', async () => {
    const gateway = await started();
    const unknown = await gateway.post('nowhere', '{}', signed);
    expect([unknown.status, await sentence(unknown)]).toEqual([404, 'there is no Channel of this name']);
    const get = await fetch(`${gateway.http}/channels/team`);
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST']);
  });

  test('too many calls from one address are 429 with Retry-After', async () => {
    const gateway = await started({ limits: { webhook: { rate: { perSecond: 1, burst: 3 } } } });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push((await gateway.post('team', events({ eventId: String(i) }), signed)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect((await gateway.post('team', '[]', signed)).headers.get('retry-after')).toBe('1');
  });

  test('a header that is sent twice counts as none', async () => {
    const gateway = await started();
    const answered = new Promise<number | undefined>((resolve, reject) => {
      const call = request(`${gateway.http}/channels/team`, { method: 'POST' }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on('error', reject);
      call.setHeader('x-signature', ['good', 'good']);
      call.end('[]');
    });
    expect(await answered).toBe(401);
  });

  test('names that nobody made do not become metrics', async () => {
    const gateway = await started();
    await gateway.post('made-up-by-a-stranger', '{}');
    expect(await gateway.registry.metrics()).not.toContain('made-up');
  });
});

describe('before and after', () => {
  test('a Channel that has not connected yet is 503, not 404', async () => {
    const platform = scriptedChannel();
    platform.connectFailures.push(...Array.from({ length: 1_000 }, () => new Error('platform is down')));
    const caches = handCaches({ channels: [channel('team', { type: 'local' })] });
    const gateway = await testGateway(caches, { channelTypes: { local: platform.type } });
    open.push(() => gateway.close());
    expect((await gateway.post('team', '[]', signed)).status).toBe(503);
  });

  test('before the caches have synced, an unknown channel is 503, and the gateway says that it is not ready', async () => {
    const caches = handCaches({});
    caches.channels.hasSynced = false;
    const gateway = await testGateway(caches);
    open.push(() => gateway.close());
    expect((await gateway.post('team', '[]', signed)).status).toBe(503);
    expect(gateway.gateway.ready()).toEqual([expect.stringContaining('not synced')]);
  });

  test('closing ends a call in hand with its answer, and twice is harmless', async () => {
    const held = Promise.withResolvers<void>();
    const gateway = await started();
    gateway.inbox.gate = held.promise;
    const post = gateway.post('team', events({ eventId: '1', text: 'last' }), signed);
    await eventually('the call is in hand', () => gateway.inbox.waiting === 1);
    const closing = Promise.all([gateway.gateway.close(), gateway.gateway.close()]);
    held.resolve();
    await closing;
    expect((await post).status).toBe(200);
    expect(gateway.inbox.texts()).toEqual(['last']);
    await expect(fetch(`${gateway.http}/channels/team`)).rejects.toThrow();
  });
});

describe('several agents', () => {
  test('one shard’s refusal keeps the event from no other agent; the next try stores only what is missing', async () => {
    const gateway = await started();
    gateway.caches.messagingGroups.set(
      messagingGroup('any', {
        channelRef: 'team',
        chatClass: 'Any',
        unknownSenders: 'Public',
        agents: [{ agentGroupRef: 'helper', priority: 2 }, { agentGroupRef: 'second' }],
      }),
    );
    gateway.caches.agentGroups.set(agentGroup('second'));
    gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
    expect((await gateway.post('team', events({ eventId: '1', text: 'a' }), signed)).status).toBe(503);
    expect(gateway.inbox.enqueued.map(({ agentGroup: name }) => name)).toEqual(['second']);
    expect((await gateway.post('team', events({ eventId: '1', text: 'a' }), signed)).status).toBe(200);
    expect(gateway.inbox.enqueued.map(({ agentGroup: name }) => name)).toEqual(['second', 'helper']);
    expect(gateway.inbox.duplicates).toBe(1);
  });
});

test('a body that never ends does not keep its connection, but that of a file may take its time', async () => {
  // Half a minute is over at once.
  const hasty = { ...systemClock, sleep: (ms: number, signal: AbortSignal) => systemClock.sleep(ms === 30_000 ? 20 : ms, signal) };
  const upload: GatewayPlugin = (app) => {
    app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
    app.put('/slow', { config: { slowBody: true } }, async (given) => {
      let bytes = 0;
      for await (const chunk of given.body as AsyncIterable<Buffer>) bytes += chunk.length;
      return { bytes };
    });
  };
  const gateway = await started({ clock: hasty, plugins: [upload] });
  const begin = (method: string, path: string): ReturnType<typeof request> => {
    const call = request(`${gateway.http}${path}`, {
      method,
      headers: { 'content-type': 'application/octet-stream', 'content-length': 4 },
    });
    call.on('error', () => {});
    call.write('ab');
    return call;
  };
  const file = begin('PUT', '/slow');
  const answered = new Promise<IncomingMessage>((resolve) => file.once('response', resolve));
  const never = begin('POST', '/channels/team');
  await new Promise((resolve) => never.once('close', resolve));
  file.end('cd');
  expect(await text(await answered)).toBe('{"bytes":4}');
});
