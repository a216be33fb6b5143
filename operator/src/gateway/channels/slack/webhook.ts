import { timingSafeEqual } from 'node:crypto';
import { isValidSlackRequest } from '@slack/bolt';
import type { Log } from '../../../lib/log.ts';
import type { IncomingEvent, WebhookCall, WebhookVerdict } from '../channel.ts';
import { Envelope } from './events.ts';
import { slackLogger } from './logger.ts';
import { BlockActions } from './presses.ts';

/** Slack's rule: older calls are replays. Newer ones by as much are a clock that is wrong. */
const WINDOW_S = 5 * 60;

export interface SlackWebhook {
  readonly signingSecret: string;
  readonly now: () => number;
  readonly log: Log;
  readonly parse: (body: Record<string, unknown>) => Promise<readonly IncomingEvent[]>;
  readonly parsePress: (press: BlockActions) => Promise<readonly IncomingEvent[]>;
}

export async function receiveWebhook(
  call: WebhookCall,
  { signingSecret, now, log, parse, parsePress }: SlackWebhook,
): Promise<WebhookVerdict> {
  const signature = call.header('x-slack-signature');
  const timestamp = call.header('x-slack-request-timestamp');
  if (signature === undefined || timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) {
    return { type: 'forged', message: 'X-Slack-Signature or X-Slack-Request-Timestamp is missing' };
  }
  if (Math.abs(now() / 1000 - Number(timestamp)) > WINDOW_S)
    return { type: 'forged', message: 'X-Slack-Request-Timestamp is too far from now' };
  const body = call.rawBody.toString('utf8');
  // Bolt signs a string: bytes that are no UTF-8 would be signed as something else than what came.
  if (!sameBytes(Buffer.from(body, 'utf8'), call.rawBody)) return { type: 'forged', message: 'the body is not UTF-8' };
  const headers = { 'x-slack-signature': signature, 'x-slack-request-timestamp': Number(timestamp) };
  if (!isValidSlackRequest({ signingSecret, body, headers, nowMilliseconds: now(), logger: slackLogger(log) })) {
    return { type: 'forged', message: 'X-Slack-Signature is not ours' };
  }
  // Buttons come as a form with one field, to the same address and with the same signature.
  const form = /^application\/x-www-form-urlencoded\b/i.test(call.header('content-type') ?? '');
  let json: unknown;
  try {
    json = JSON.parse(form ? (new URLSearchParams(body).get('payload') ?? '') : body);
  } catch {
    return { type: 'malformed', message: 'the body is not JSON' };
  }
  if (typeof json !== 'object' || json === null) return { type: 'malformed', message: 'the body is not a JSON object' };
  if ('type' in json && json.type === 'url_verification') {
    if (!('challenge' in json) || typeof json.challenge !== 'string')
      return { type: 'malformed', message: 'url_verification without challenge' };
    return { type: 'answer', contentType: 'text/plain; charset=utf-8', body: json.challenge };
  }
  const press = BlockActions.safeParse(json);
  if (press.success) return { type: 'events', events: await parsePress(press.data) };
  const envelope = Envelope.safeParse(json);
  // Signed by Slack, and of a kind that we did not ask for: to refuse it would only bring it back.
  if (!envelope.success)
    return 'type' in json && json.type === 'event_callback'
      ? { type: 'malformed', message: 'the event has bad form' }
      : { type: 'events', events: [] };
  try {
    return { type: 'events', events: await parse(envelope.data) };
  } catch (thrown) {
    log.warn({ eventId: envelope.data.event_id, err: thrown }, 'slack event has bad form');
    return { type: 'malformed', message: 'the event has bad form' };
  }
}

function sameBytes(a: Buffer, b: Buffer): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
