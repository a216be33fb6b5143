import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { silentLog } from '../../lib/log.ts';
import type { WebhookVerdict } from './channel.ts';
import { SlackApp } from './slack/bolt-app.ts';
import { parseMessageEvent } from './slack/events.ts';
import { type BlockActions, pressesOf } from './slack/presses.ts';
import { clientOptions } from './slack/web-api.ts';
import { receiveWebhook as receiveSlack } from './slack/webhook.ts';
import { parseUpdate } from './telegram/updates.ts';
import { receiveWebhook as receiveTelegram } from './telegram/webhook.ts';

const NOW = 1_700_000_000_000;
const SECRET = 'shh';
const attachment = () => ({ name: 'a', mimeType: 'b', sizeBytes: 0, open: () => Promise.reject(new Error('no')) });

const self = { userId: 'UBOT', botId: 'B0BOT', name: 'kbot' };
const app = new SlackApp({
  token: 'xoxb-1',
  self,
  clientOptions: clientOptions(undefined, silentLog),
  log: silentLog,
  parse: (event, eventId) =>
    parseMessageEvent(event, { channel: 'team', self, eventId, nameOf: async (user) => user, attachment, onOwnMessage: () => {} }),
});

const parsePress = (press: BlockActions) => pressesOf(press, { channel: 'team', nameOf: async (user) => user });

function slack(body: Buffer, sign = true, contentType = 'application/json'): Promise<WebhookVerdict> {
  const timestamp = String(NOW / 1000);
  const signature = `v0=${createHmac('sha256', SECRET).update(`v0:${timestamp}:`).update(body).digest('hex')}`;
  const signed: Record<string, string> = sign ? { 'x-slack-signature': signature, 'x-slack-request-timestamp': timestamp } : {};
  const headers: Record<string, string> = { 'content-type': contentType, ...signed };
  return receiveSlack(
    { rawBody: body, header: (name) => headers[name] },
    { signingSecret: SECRET, now: () => NOW, log: silentLog, parse: (envelope) => app.events(envelope), parsePress },
  );
}

function telegram(body: Buffer): Promise<WebhookVerdict> {
  return receiveTelegram(
    { rawBody: body, header: () => SECRET },
    {
      secret: SECRET,
      log: silentLog,
      parse: (update) => parseUpdate(update, { channel: 'team', self: { id: 1, username: 'bot' }, attachment, onOwnMessage: () => {} }),
    },
  );
}

/** Like a real one, with any field replaced by anything. */
function spoiled(real: Readonly<Record<string, unknown>>): fc.Arbitrary<Record<string, unknown>> {
  return fc
    .dictionary(fc.constantFrom(...Object.keys(real)), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 3 })
    .map((changes) => ({ ...real, ...changes }));
}
const message = {
  type: 'message',
  channel: 'C1',
  channel_type: 'channel',
  user: 'U1',
  ts: '1.1',
  thread_ts: '1.0',
  text: 'hi',
  subtype: 'message_changed',
  files: [],
  message: {},
  previous_message: {},
  deleted_ts: '1.0',
};
const envelope = spoiled(message).chain((event) =>
  spoiled({ type: 'event_callback', event_id: 'Ev1', team_id: 'T', authorizations: [], event }),
);
const update = spoiled({
  message_id: 1,
  chat: { id: 1, type: 'group' },
  from: { id: 2 },
  text: 'hi',
  photo: [],
  entities: [],
  reply_to_message: {},
  quote: {},
}).chain((said) => spoiled({ update_id: 1, message: said, edited_message: said }));

const button = spoiled({ action_id: 'dovecote-answer-0', value: 'q:5:0:helper-abcdefghij', action_ts: '1.1' });
const press = button.chain((action) =>
  spoiled({ type: 'block_actions', user: { id: 'U1' }, channel: { id: 'C1' }, message: { ts: '1.1' }, actions: [action] }),
);
const callback = spoiled({
  id: '1',
  from: { id: 2 },
  message: { message_id: 1, chat: { id: 1, type: 'group' } },
  data: 'q:5:0:helper-abcdefghij',
}).chain((query) => spoiled({ update_id: 1, callback_query: query }));

const TYPES = ['forged', 'malformed', 'answer', 'events'];

describe('whatever comes in, a webhook has a verdict and does not throw', () => {
  test('slack, signed', () =>
    fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue(), envelope), async (value) => {
        expect(TYPES).toContain((await slack(Buffer.from(JSON.stringify(value)))).type);
      }),
      { numRuns: 500 },
    ));

  test('slack, forms, signed', () =>
    fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue(), press, fc.string()), async (value) => {
        const payload = typeof value === 'string' ? value : JSON.stringify(value);
        const verdict = await slack(Buffer.from(new URLSearchParams({ payload }).toString()), true, 'application/x-www-form-urlencoded');
        expect(TYPES).toContain(verdict.type);
        if (verdict.type === 'events') for (const event of verdict.events) expect(event.type).toBe('answer');
      }),
      { numRuns: 500 },
    ));

  test('slack, any bytes', () =>
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        expect(['forged', 'malformed', 'events']).toContain((await slack(Buffer.from(bytes))).type);
        expect((await slack(Buffer.from(bytes), false)).type).toBe('forged');
      }),
      { numRuns: 300 },
    ));

  test('telegram', () =>
    fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue(), update, callback), async (value) => {
        expect(TYPES).toContain((await telegram(Buffer.from(JSON.stringify(value)))).type);
      }),
      { numRuns: 500 },
    ));
});

describe('slack’s replay window', () => {
  const body = Buffer.from('{"type":"url_verification","challenge":"abc"}');
  const at = (offsetS: number): Promise<WebhookVerdict> => {
    const timestamp = String(NOW / 1000 + offsetS);
    const signature = `v0=${createHmac('sha256', SECRET).update(`v0:${timestamp}:`).update(body).digest('hex')}`;
    const headers: Record<string, string> = { 'x-slack-signature': signature, 'x-slack-request-timestamp': timestamp };
    return receiveSlack(
      { rawBody: body, header: (name) => headers[name] },
      { signingSecret: SECRET, now: () => NOW, log: silentLog, parse: async () => [], parsePress },
    );
  };
  test('a handshake within it is answered', async () =>
    expect(await at(-299)).toEqual({ type: 'answer', contentType: 'text/plain; charset=utf-8', body: 'abc' }));
  test.each([-301, 301, Number.NaN])('%s s away is a replay', async (offset) => expect((await at(offset)).type).toBe('forged'));
});
