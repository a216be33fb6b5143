import { App, type Receiver } from '@slack/bolt';
import type { WebClientOptions } from '@slack/web-api';
import type { Log } from '../../../lib/log.ts';
import type { IncomingEvent } from '../channel.ts';
import type { SlackSelf } from './events.ts';
import { slackLogger } from './logger.ts';

type Collected = IncomingEvent[];

/**
 * Bolt between an envelope and our events. It is given an `ack` that does nothing: it calls it before its listeners run, and Slack
 * may hear of success only when delivery has written the event down. Whoever brought the envelope acknowledges it, later.
 */
export class SlackApp {
  readonly #app: App;

  constructor(options: {
    readonly token: string;
    readonly self: SlackSelf;
    readonly clientOptions: WebClientOptions;
    readonly log: Log;
    readonly parse: (event: unknown, eventId: string) => Promise<readonly IncomingEvent[]>;
  }) {
    const { token, self, clientOptions, log, parse } = options;
    const receiver: Receiver = { init: () => {}, start: async () => {}, stop: async () => {} };
    this.#app = new App({
      receiver,
      // Bolt's own would ask Slack again, at every start.
      authorize: async () => ({ botToken: token, botId: self.botId, botUserId: self.userId }),
      clientOptions,
      logger: slackLogger(log),
      ignoreSelf: false, // we count them
      convoStore: false,
    });
    const collect = async ({
      event,
      body,
      context,
    }: {
      event: unknown;
      body: { event_id: string };
      context: Record<string, unknown>;
    }): Promise<void> => {
      (context['collected'] as Collected).push(...(await parse(event, body.event_id)));
    };
    this.#app.event('message', collect);
    this.#app.event('app_mention', collect);
  }

  /** The events in an Events API envelope. Rejects when one has bad form. */
  async events(body: Record<string, unknown>): Promise<readonly IncomingEvent[]> {
    const collected: Collected = [];
    await this.#app.processEvent({ body, ack: async () => {}, customProperties: { collected } });
    return collected;
  }
}
