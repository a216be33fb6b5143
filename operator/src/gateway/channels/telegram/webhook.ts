import { createHash, timingSafeEqual } from 'node:crypto';
import type { Log } from '../../../lib/log.ts';
import type { IncomingEvent, WebhookCall, WebhookVerdict } from '../channel.ts';

export interface TelegramWebhook {
  readonly secret: string;
  readonly log: Log;
  readonly parse: (update: unknown) => readonly IncomingEvent[];
}

/** Telegram signs nothing: it shows the secret that setWebhook gave it. */
export async function receiveWebhook(call: WebhookCall, { secret, log, parse }: TelegramWebhook): Promise<WebhookVerdict> {
  const shown = call.header('x-telegram-bot-api-secret-token');
  if (shown === undefined) return { type: 'forged', message: 'X-Telegram-Bot-Api-Secret-Token is missing' };
  if (!timingSafeEqual(digest(shown), digest(secret))) return { type: 'forged', message: 'X-Telegram-Bot-Api-Secret-Token is not ours' };
  let update: unknown;
  try {
    update = JSON.parse(call.rawBody.toString('utf8'));
  } catch {
    return { type: 'malformed', message: 'the body is not JSON' };
  }
  try {
    return { type: 'events', events: parse(update) };
  } catch (thrown) {
    log.warn({ err: thrown }, 'telegram update has bad form');
    return { type: 'malformed', message: 'the update has bad form' };
  }
}

/** Of one length, as the comparison wants it. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
