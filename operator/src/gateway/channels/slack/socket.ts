import { SocketModeClient } from '@slack/socket-mode';
import type { WebClientOptions } from '@slack/web-api';
import type { Clock } from '../../../lib/clock.ts';
import { abandonAfter } from '../../../lib/deadline.ts';
import { toError } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import type { IncomingEvent, Sink } from '../channel.ts';
import { Envelope } from './events.ts';
import { fromSlackConnect } from './from-slack.ts';
import { slackLogger } from './logger.ts';
import { BlockActions } from './presses.ts';

const START_MS = 20_000;
const CLOSE_MS = 5_000;

export interface SlackSocket {
  readonly appToken: string;
  readonly clientOptions: WebClientOptions;
  readonly clock: Clock;
  readonly log: Log;
  readonly parse: (body: Record<string, unknown>) => Promise<readonly IncomingEvent[]>;
  readonly parsePress: (press: BlockActions) => Promise<readonly IncomingEvent[]>;
}

interface SlackEvent {
  readonly type: string;
  readonly body: unknown;
  readonly ack: () => Promise<void>;
}

/**
 * Socket Mode. An envelope is acknowledged when its event is durable; one that is not is sent again by Slack, on this connection or
 * on the next owner's. Slack ends each connection after some hours: the next is opened at once, and that is no failure.
 */
export async function listenToSocket(socket: SlackSocket, sink: Sink, signal: AbortSignal, up: () => void): Promise<void> {
  while (!signal.aborted) await oneConnection(socket, sink, signal, up);
}

/** Resolves when a connection that was good has ended, or `signal` aborted; rejects when none could be made. */
async function oneConnection(
  { appToken, clientOptions, clock, log, parse, parsePress }: SlackSocket,
  sink: Sink,
  signal: AbortSignal,
  up: () => void,
): Promise<void> {
  const { logger: _, ...options } = clientOptions;
  const client = new SocketModeClient({ appToken, autoReconnectEnabled: false, clientOptions: options, logger: slackLogger(log) });
  const ended = Promise.withResolvers<void>();
  const inHand = new Set<Promise<void>>();
  const handle = async ({ type, body, ack }: SlackEvent): Promise<void> => {
    try {
      if (type === 'events_api') {
        const envelope = Envelope.safeParse(body);
        if (envelope.success) {
          const events = await parse(envelope.data);
          if (events.length > 0) await sink(events);
        } else log.warn({ err: envelope.error }, 'slack event has bad form');
      }
      const press = type === 'interactive' ? BlockActions.safeParse(body) : undefined;
      if (press?.success === true) {
        const events = await parsePress(press.data);
        if (events.length > 0) await sink(events);
      }
      // Commands and buttons that nobody here knows are acknowledged too, or Slack shows the person an error of ours.
      await ack();
    } catch (thrown) {
      log.warn({ err: toError(thrown) }, 'slack event was not acknowledged, Slack sends it again');
    }
  };
  client.on('slack_event', (event: SlackEvent) => {
    if (signal.aborted) return; // the next owner gets it
    const handled = handle(event).finally(() => inHand.delete(handled));
    inHand.add(handled);
  });
  client.on('connected', up);
  client.on('disconnected', () => ended.resolve());
  const stop = (): void => ended.resolve();
  signal.addEventListener('abort', stop, { once: true });
  try {
    await abandonAfter({ ms: START_MS, what: 'open the socket', clock, signal }, () => client.start());
    await ended.promise;
  } catch (thrown) {
    if (!signal.aborted) throw fromSlackConnect('open the socket', thrown ?? new Error('it was closed before it said hello'));
  } finally {
    signal.removeEventListener('abort', stop);
    // Acknowledgements go over this connection.
    while (inHand.size > 0) await Promise.all(inHand);
    await abandonAfter({ ms: CLOSE_MS, what: 'close the socket', clock, signal: undefined }, () => client.disconnect()).catch(
      (thrown: unknown) => log.debug({ err: toError(thrown) }, 'slack socket did not close cleanly'),
    );
    client.removeAllListeners();
  }
}
