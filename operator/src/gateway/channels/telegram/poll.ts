import { z } from 'zod';
import { backoffMs } from '../../../lib/backoff.ts';
import type { Clock } from '../../../lib/clock.ts';
import { toError } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import type { Random } from '../../../lib/random.ts';
import type { IncomingEvent, Sink } from '../channel.ts';
import type { BotApi } from './bot-api.ts';
import { fromTelegramConnect } from './from-telegram.ts';
import { ALLOWED_UPDATES } from './updates.ts';

/** How long Telegram holds a question without an answer. */
const HOLD_S = 25;
const CALL_MS = (HOLD_S + 10) * 1_000;
/** A server that answers "nothing" at once is not asked again before. */
const PAUSE_MS = 250;
const CONFIRM_MS = 2_000;
const RETRY = { baseMs: 200, maxMs: 10_000 };

const Updates = z.array(z.looseObject({ update_id: z.number() }));

export interface TelegramPoll {
  readonly api: BotApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly parse: (update: unknown) => readonly IncomingEvent[];
}

/**
 * Asks for updates, one batch after the other. Telegram forgets what is below the offset of a question, so the offset moves on only
 * when the batch is durable. Rejects when Telegram does not answer, or another process asks for the same bot's updates (409).
 */
export async function pollForUpdates(poll: TelegramPoll, sink: Sink, signal: AbortSignal, up: () => void): Promise<void> {
  const { api, clock } = poll;
  let offset: number | undefined;
  try {
    // As long as a webhook is set, Telegram answers no question. What has come in meanwhile is kept.
    await api.call('deleteWebhook', { drop_pending_updates: false }, signal);
    up();
    while (!signal.aborted) {
      const askedAt = clock.now();
      const answer = await api.call(
        'getUpdates',
        { ...(offset !== undefined && { offset }), timeout: HOLD_S, allowed_updates: ALLOWED_UPDATES },
        signal,
        CALL_MS,
      );
      const updates = Updates.parse(answer);
      const last = updates.at(-1);
      if (last === undefined) {
        if (clock.now() - askedAt < PAUSE_MS) await clock.sleep(PAUSE_MS, signal);
        continue;
      }
      if (!(await stored(poll, updates, sink, signal))) return;
      offset = last.update_id + 1;
    }
  } catch (thrown) {
    if (!signal.aborted) throw fromTelegramConnect('ask for updates', thrown);
  } finally {
    // So that the next owner does not get what is stored once more. What it did not get is not confirmed by this.
    if (signal.aborted && offset !== undefined) {
      await api
        .call('getUpdates', { offset, limit: 1, timeout: 0 }, new AbortController().signal, CONFIRM_MS)
        .catch((thrown: unknown) =>
          poll.log.debug({ err: toError(thrown) }, 'last offset was not confirmed, delivery finds the repetitions'),
        );
    }
  }
}

/** False when the signal aborted before all of them were durable. */
async function stored(
  { clock, random, log, parse }: TelegramPoll,
  updates: z.infer<typeof Updates>,
  sink: Sink,
  signal: AbortSignal,
): Promise<boolean> {
  const events = updates.flatMap((update) => {
    try {
      return parse(update);
    } catch (thrown) {
      // It would stand before all others for ever.
      log.error({ updateId: update.update_id, err: thrown }, 'telegram update has bad form and is passed over');
      return [];
    }
  });
  for (let attempt = 1; events.length > 0; attempt++) {
    try {
      await sink(events);
      return true;
    } catch (thrown) {
      log.warn({ err: toError(thrown), attempt }, 'telegram updates could not be stored, they are tried again');
      await clock.sleep(backoffMs(attempt, RETRY, random), signal).catch(() => {});
      if (signal.aborted) return false;
    }
  }
  return true;
}
