/** Test only: what every channel does, whatever its platform. A channel's own test gives its platform and calls this. */

import type { ChannelSpecInput } from '@dovecote/crds';
import { platform as proto } from '@dovecote/proto';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { StatusError } from '../../lib/grpc.ts';
import type { GatewayPlugin } from '../start.ts';
import { eventually } from '../testing/eventually.ts';
import type { Fault, MockPlatformFaults } from '../testing/mock-platform-faults.ts';
import { agentGroup, anyChat, channel, type HandCaches, handCaches, messagingGroup } from '../testing/objects.ts';
import { ASKING, QUESTION } from '../testing/scripted-inbox.ts';
import { type TestGateway, testGateway } from '../testing/test-gateway.ts';
import { encodeButton } from './button.ts';

// Machines under load: what a test waits for comes, but not always within five seconds.
export interface Seen {
  readonly id: string;
  readonly text: string;
  /** Empty: none. */
  readonly thread: string;
  readonly file?: { readonly name: string; readonly bytes: Buffer };
  readonly buttons?: readonly SeenButton[];
}

export interface SeenButton {
  readonly label: string;
  readonly data: string;
}

/** A platform with one account of ours and one person, in one group. */
export interface PlatformUnderTest {
  readonly spec: ChannelSpecInput;
  readonly credentials: Readonly<Record<string, string>>;
  readonly chat: string;
  readonly supports: { readonly threads: boolean; readonly edits: boolean; readonly reactions: boolean; readonly files: boolean };
  /** Our account as a person would mention it. */
  readonly mention: string;
  /** Where its webhooks go from now on. */
  connect(webhookUrl: string): Promise<void>;
  /** A person writes into the group; resolves when the platform has told us, or would have. The id is the platform's. */
  say(text: string, options?: { readonly thread?: string }): Promise<string>;
  /**
   * The same person presses a button under a message of ours that carries this; resolves when the platform has told us, or would have:
   * with what we answered, where it calls us.
   */
  press(messageId: string, data: string): Promise<number>;
  /** The last call of the platform to us, again; for those that call. */
  repeat?(change?: 'none' | 'forged'): Promise<number>;
  /** What our account wrote in the group, oldest first; undefined where people are shown the ledger itself. */
  seen?(): Promise<readonly Seen[]>;
  /** Set where calls to the platform go through a mock that can fail. */
  readonly faults?: {
    readonly mock: MockPlatformFaults;
    /** The method that sends a text. */
    readonly send: string;
    /** The platform's way to say 429. */
    tooMany(seconds: number): Fault;
    /** The method that edits and what it says of a message that is gone, where the emulator does not. */
    readonly gone?: { readonly method: string; readonly fault: Fault };
    reactions(): Promise<readonly string[]>;
  };
  readonly plugins?: readonly GatewayPlugin[];
  close(): Promise<void>;
}

const text = (value: string): string => JSON.stringify({ text: value });

export function describeChannel(name: string, start: () => Promise<PlatformUnderTest>): void {
  describe(`${name}: the channel contract [chan/contract]`, () => {
    let platform: PlatformUnderTest;
    let caches: HandCaches;
    let gateway: TestGateway;

    beforeEach(async () => {
      platform = await start();
      caches = handCaches({
        channels: [channel('team', platform.spec)],
        messagingGroups: [anyChat('team')],
        agentGroups: [agentGroup('helper')],
      });
      gateway = await testGateway(caches, {
        secretValues: { creds: { ...platform.credentials } },
        limits: { platform: { callMs: 1_000 }, keeper: { retry: { baseMs: 10, maxMs: 100 } } },
        ...(platform.plugins !== undefined && { plugins: platform.plugins }),
      });
      await eventually('the channel is connected', () => gateway.statuses.at(-1)?.status.conditions[0]?.status === 'True');
      await platform.connect(`${gateway.http}/channels/team`);
    });
    afterEach(async () => {
      await gateway?.close();
      await platform?.close();
    });

    const received = (count: number): Promise<void> =>
      eventually(`${count} events in delivery`, () => gateway.inbox.enqueued.length >= count);
    const send = (content: string, more: Partial<proto.DeliverRequest> = {}): Promise<proto.DeliverResponse> =>
      gateway.deliver({ channel: 'team', chat: platform.chat, content: text(content), ...more });
    const idOf = ({ outcome }: proto.DeliverResponse): string => {
      if (outcome?.$case !== 'delivered') throw new Error(`not delivered: ${JSON.stringify(outcome)}`);
      return outcome.value.platformMessageId;
    };

    test('says who it is', () => {
      expect(gateway.statuses.at(-1)?.status.account).not.toBe('');
    });

    test('receives what a person writes', async () => {
      const id = await platform.say('hello there');
      await received(1);
      const event = gateway.inbox.enqueued[0]?.event;
      expect(event).toMatchObject({ channel: 'team', chat: platform.chat, text: 'hello there', platformMessageId: id });
      expect(event?.sender).not.toBe('');
      expect(event?.senderName).not.toBe('');
      expect(event?.eventId.startsWith('team/')).toBe(true);
      expect(event?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    });

    test('knows when it is mentioned', async () => {
      caches.messagingGroups.set(
        messagingGroup('any', {
          channelRef: 'team',
          chatClass: 'Group',
          unknownSenders: 'Public',
          agents: [{ agentGroupRef: 'helper', engage: { mode: 'Mention' } }],
        }),
      );
      if (name.startsWith('local')) return;
      await platform.say('just talking');
      await platform.say(`${platform.mention} your turn`);
      await received(1);
      expect(gateway.inbox.enqueued).toMatchObject([{ reason: 'Mentioned' }]);
      await eventually('the other is dropped with its reason', () => gateway.inbox.drops.length === 1);
      expect(gateway.inbox.drops).toMatchObject([{ reason: 'NotEngaged' }]);
    });

    test('stores an event that comes again once, also on another replica', async () => {
      await platform.say('only once');
      await received(1);
      if (platform.repeat === undefined) return;
      expect(await platform.repeat()).toBe(200);
      const other = await testGateway(caches, { inbox: gateway.inbox, secretValues: { creds: { ...platform.credentials } } });
      try {
        await eventually('the other replica is connected', () => other.gateway.channelProblems().length === 0);
        await platform.connect(`${other.http}/channels/team`);
        expect(await platform.repeat()).toBe(200);
      } finally {
        await other.close();
      }
      expect(gateway.inbox.texts()).toEqual(['only once']);
    });

    test('refuses what is not signed by the platform', async () => {
      await platform.say('true');
      await received(1);
      if (platform.repeat === undefined) return;
      expect(await platform.repeat('forged')).toBe(401);
      expect(gateway.inbox.enqueued.length).toBe(1);
    });

    test('does not acknowledge what could not be stored', async () => {
      gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
      await platform.say('again please').catch(() => {}); // some platforms tell the person
      if (platform.repeat === undefined) await received(1);
      else expect(await platform.repeat()).toBe(200);
      expect(gateway.inbox.texts()).toEqual(['again please']);
    });

    test('ignores what it wrote itself', async () => {
      await send('my own words');
      await platform.say('theirs');
      await received(1);
      expect(gateway.inbox.texts()).toEqual(['theirs']);
      expect(gateway.inbox.drops).toEqual([]);
    });

    test('replies, in Markdown, and answers with the platform’s id', async () => {
      const id = idOf(await send('**bold** <tag> & more'));
      if (platform.seen === undefined) return;
      const [message] = await platform.seen();
      expect(message?.id).toBe(id);
      expect(
        message?.text
          .replace(/<\/?b>|\*/g, '')
          .replaceAll('&lt;', '<')
          .replaceAll('&gt;', '>')
          .replaceAll('&amp;', '&'),
      ).toBe('bold <tag> & more');
    });

    test('replies in the thread', async () => {
      if (!platform.supports.threads) return;
      const root = await platform.say('the beginning');
      idOf(await send('inside', { thread: root }));
      expect((await platform.seen?.())?.at(-1)).toMatchObject({ text: 'inside', thread: root });
      await platform.say('more', { thread: root });
      await received(2);
      expect(gateway.inbox.enqueued.at(-1)?.event).toMatchObject({ text: 'more', thread: root });
    });

    test('splits what is too long, and nothing is lost', async () => {
      const long = Array.from({ length: 1_200 }, (_, i) => `word${i}`).join(' ');
      let more = true;
      for (let part = 0; more; part++) {
        const { outcome } = await send(long, { part, idempotencyKey: `s/1/${part}` });
        if (outcome?.$case !== 'delivered') throw new Error('not delivered');
        more = outcome.value.more;
      }
      if (platform.seen !== undefined) expect((await platform.seen()).map((message) => message.text).join(' ')).toBe(long);
    });

    test('edits its message', async () => {
      if (!platform.supports.edits) return;
      const id = idOf(await send('first'));
      idOf(await send('second', { kind: proto.OutboundKind.EDIT, targetMessageId: id }));
      if (platform.seen !== undefined) expect((await platform.seen()).map((message) => message.text)).toEqual(['second']);
    });

    test('reacts, and twice is once', async () => {
      const { faults } = platform;
      if (!platform.supports.reactions || faults === undefined) return;
      const id = await platform.say('nice');
      const react = { kind: proto.OutboundKind.REACTION, targetMessageId: id, content: JSON.stringify({ target: 2, emoji: '👍' }) };
      idOf(await send('', react));
      idOf(await send('', react));
      expect(await faults.reactions()).toHaveLength(1);
    });

    test('sends a file whole', async () => {
      if (!platform.supports.files) return;
      const bytes = Buffer.alloc(300_000, 'dovecote ');
      const content = JSON.stringify({
        path: 'outbox/1/report.txt',
        name: 'report.txt',
        mimeType: 'text/plain',
        sizeBytes: bytes.byteLength,
        text: 'the report',
      });
      const chunks = [bytes.subarray(0, 200_000), bytes.subarray(200_000)];
      idOf(await gateway.deliverFile({ channel: 'team', chat: platform.chat, content }, chunks));
      if (platform.seen === undefined) return;
      const [message] = await platform.seen();
      expect(message).toMatchObject({ text: 'the report', file: { name: 'report.txt' } });
      expect(message?.file?.bytes.equals(bytes)).toBe(true);
    });

    describe('an answer that is being written', () => {
      const show = async (text: string, messageId = '', key = 's/t1/preview'): Promise<string> => {
        const { outcome } = await gateway.preview({ channel: 'team', chat: platform.chat, text, messageId, idempotencyKey: key });
        if (outcome?.$case !== 'shown') throw new Error(`not shown: ${JSON.stringify(outcome)}`);
        expect(outcome.value.nextAfterMs).toBeGreaterThan(0);
        return outcome.value.messageId;
      };
      const texts = async (): Promise<string[]> => ((await platform.seen?.()) ?? []).map((message) => message.text);

      test('grows in one message, and the answer takes its place; one whose messages are fixed says so', async () => {
        if (platform.seen === undefined) {
          const { outcome } = await gateway.preview({ channel: 'team', chat: platform.chat, text: 'One' });
          expect(outcome).toMatchObject({ $case: 'failed', value: { reason: 'Unsupported' } });
          return;
        }
        const id = await show('One **two');
        expect(await show('One **two** three\n\n```\ncode', id)).toBe(id);
        const [growing = '', ...others] = await texts();
        expect(others).toEqual([]);
        expect(growing).toMatch(/One .*two.* three\s+(```|<pre>)\s*code\s*(```|<\/pre>) …$/s);
        expect(idOf(await send('The answer', { targetMessageId: id }))).toBe(id);
        expect(await texts()).toEqual(['The answer']);
      });

      test('is taken back when there is no answer, and an answer whose preview somebody removed is sent anew', async () => {
        if (platform.seen === undefined) return;
        const id = await show('never said');
        await show('', id);
        expect(await texts()).toEqual([]);
        const { mock, gone } = platform.faults ?? {};
        if (gone !== undefined) mock?.next(gone.method, gone.fault, gone.fault);
        const again = await gateway.preview({ channel: 'team', chat: platform.chat, text: 'more', messageId: id });
        expect(again.outcome).toMatchObject({ $case: 'failed', value: { reason: 'Gone' } });
        const anew = idOf(await send('The answer', { targetMessageId: id }));
        expect(anew).not.toBe(id);
        expect(await texts()).toEqual(['The answer']);
      });

      test('of a long one the beginning is seen, and its further parts come with the answer', async () => {
        if (platform.seen === undefined) return;
        const long = Array.from({ length: 1_200 }, (_, i) => `word${i}`).join(' ');
        const id = await show(long);
        expect((await texts())[0]).toMatch(/^word0 word1 .* …$/s);
        for (let [part, more] = [0, true]; more; part += 1) {
          const target = part === 0 ? id : '';
          const { outcome } = await send(long, { part, idempotencyKey: `s/1/${part}`, targetMessageId: target });
          if (outcome?.$case !== 'delivered') throw new Error('not delivered');
          more = outcome.value.more;
        }
        expect((await texts()).join(' ')).toBe(long);
      });
    });

    test('typing never fails', async () => {
      expect(await gateway.typing({ channel: 'team', chat: platform.chat, thread: '' })).toEqual({});
    });

    const ask = async (seq: number): Promise<string> =>
      idOf(await send('', { kind: proto.OutboundKind.QUESTION, content: JSON.stringify(QUESTION), idempotencyKey: `${ASKING}/${seq}/0` }));
    const buttonOf = (seq: number, option: number): string => encodeButton({ session: ASKING, questionSeq: seq, option }) ?? '';
    /** As people see it now. */
    const message = async (id: string): Promise<Seen | undefined> => (await platform.seen?.())?.find((one) => one.id === id);

    test('asks with buttons; the press reaches the session that asked, and the message says what was chosen', async () => {
      const id = await ask(5);
      if (platform.seen !== undefined) {
        expect((await message(id))?.text).toContain('To production.');
        expect((await message(id))?.buttons).toEqual(QUESTION.options.map(({ label }, option) => ({ label, data: buttonOf(5, option) })));
      }
      expect(await platform.press(id, buttonOf(5, 1))).toBe(200);
      await eventually('the press is in delivery', () => gateway.inbox.answers.length === 1);
      const [pressed] = gateway.inbox.answers;
      expect(pressed).toMatchObject({ session: ASKING, questionSeq: 5, option: 1, event: { channel: 'team', chat: platform.chat } });
      expect(pressed?.event?.sender).not.toBe('');
      if (platform.seen === undefined) return;
      await eventually('the choice is shown', async () => (await message(id))?.text.includes('Not now') === true);
      expect((await message(id))?.text).toContain(pressed?.event?.senderName);
      expect((await message(id))?.buttons ?? []).toEqual([]);
    });

    test('a press that comes too late shows what was chosen before', async () => {
      const id = await ask(7);
      await platform.press(id, buttonOf(7, 0));
      await eventually('the press is in delivery', () => gateway.inbox.answers.length === 1);
      const again = await ask(7); // as after a crash, before which it could not be changed
      await platform.press(again, buttonOf(7, 1));
      await eventually('both are in delivery', () => gateway.inbox.answers.length === 2);
      if (platform.seen === undefined) return;
      await eventually('the first choice is shown', async () => (await message(again))?.buttons?.length !== 2);
      expect((await message(again))?.text).toContain('Yes');
      expect((await message(again))?.text).not.toContain('Not now');
    });

    test('a press is not acknowledged before it is stored, and then stored once', async () => {
      const id = await ask(9);
      gateway.inbox.failures.push(new StatusError(status.RESOURCE_EXHAUSTED, 'volume full'));
      const first = await platform.press(id, buttonOf(9, 0)).catch(() => 503);
      if (platform.repeat !== undefined) {
        expect(first).toBe(503);
        expect(await platform.repeat()).toBe(200);
        expect(await platform.repeat()).toBe(200);
      }
      await eventually('it is in delivery', () => gateway.inbox.answers.length > 0);
      expect(gateway.inbox.answers).toHaveLength(1);
    });

    test('a press by someone who may not speak here is dropped with its reason, a forged one points to nothing', async () => {
      const id = await ask(11);
      const forged = encodeButton({ session: 'someone-aaaaaaaaaa', questionSeq: 2, option: 0 }) ?? '';
      await platform.press(id, forged);
      await eventually('the forged one is recorded', () => gateway.inbox.drops.length === 1);
      for (const rubbish of ['q:zz', 'https://x.example', 'q:1:0:../../etc']) await platform.press(id, rubbish);
      caches.messagingGroups.set(
        messagingGroup('any', { channelRef: 'team', chatClass: 'Any', unknownSenders: 'Strict', agents: [{ agentGroupRef: 'helper' }] }),
      );
      await platform.press(id, buttonOf(11, 0));
      await eventually('the stranger is recorded', () => gateway.inbox.drops.length === 2);
      expect(gateway.inbox.drops).toMatchObject([{ reason: 'QuestionUnknown' }, { reason: 'SenderUnknown' }]);
      expect(gateway.inbox.answers.filter(({ session }) => session === ASKING)).toEqual([]);
    });

    test('shows a card with all that is on it', async () => {
      const card = {
        title: 'Build 7',
        text: 'It is **green**.',
        fields: [{ label: 'Time', value: '3 s' }],
        links: [{ label: 'Log', url: 'https://ci.example/7' }],
        fallback: 'Build 7 is green',
      };
      const id = idOf(await send('', { kind: proto.OutboundKind.CARD, content: JSON.stringify(card) }));
      const shown = (await message(id))?.text;
      for (const part of shown === undefined ? [] : ['Build 7', 'green', 'Time', '3 s', 'Log', 'https://ci.example/7'])
        expect(shown).toContain(part);
    });

    const faulty = (what: string, body: (faults: NonNullable<PlatformUnderTest['faults']>) => Promise<void>): void => {
      test(what, async () => {
        if (platform.faults !== undefined) await body(platform.faults);
      });
    };

    faulty('429: a retry with the platform’s own time, and no retry of the library’s', async ({ mock, send: method, tooMany }) => {
      mock.next(method, tooMany(7));
      const calls = mock.callsOf(method).length;
      expect((await send('hi')).outcome).toMatchObject({
        $case: 'retry',
        value: { reason: 'RateLimited', afterMs: 7_000, maybeSent: false },
      });
      expect(mock.callsOf(method).length).toBe(calls + 1);
      expect(await platform.seen?.()).toEqual([]);
    });

    faulty('503: a retry', async ({ mock, send: method }) => {
      mock.next(method, { type: 'answer', status: 503, body: {} });
      expect((await send('hi')).outcome).toMatchObject({ $case: 'retry', value: { reason: 'Unavailable', maybeSent: false } });
      idOf(await send('hi'));
    });

    faulty('no answer: a retry that may have been sent', async ({ mock, send: method }) => {
      mock.next(method, { type: 'hang' }, { type: 'lose-answer' });
      expect((await send('hi')).outcome).toMatchObject({ $case: 'retry', value: { reason: 'NoAnswer', maybeSent: true } });
      expect((await send('hi')).outcome).toMatchObject({ $case: 'retry', value: { reason: 'NoAnswer', maybeSent: true } });
    });

    faulty('nobody listens: a retry that was surely not sent', async ({ mock }) => {
      await mock.close();
      expect((await send('hi')).outcome).toMatchObject({ $case: 'retry', value: { reason: 'Unreachable', maybeSent: false } });
    });

    test('stops twice without harm, and nothing is stored after it', async () => {
      await gateway.gateway.close();
      await gateway.gateway.close();
      await platform.say('anyone?').catch(() => {});
      if (platform.repeat !== undefined) await platform.repeat().catch(() => {});
      expect(gateway.inbox.enqueued).toEqual([]);
    });
  });
}
