/** Test only: a platform whose every answer the test decides. Its webhook takes `x-signature: good` and a list of events. */
import { TerminalError } from '../../lib/errors.ts';
import type {
  ChannelInfo,
  ChannelType,
  ConnectedChannel,
  Delivery,
  IncomingMessage,
  Outcome,
  Settlement,
  Sink,
} from '../channels/channel.ts';
import { MRKDWN } from '../render/mrkdwn.ts';

export interface ScriptedChannel {
  readonly type: ChannelType;
  readonly delivered: Delivery[];
  /** How the next deliveries end; delivered when there is none. */
  readonly outcomes: ((signal: AbortSignal) => Promise<Outcome>)[];
  settlement: Settlement;
  /** How the next connections fail; taken from the front. */
  readonly connectFailures: Error[];
  connects: number;
  closes: number;
  /** The sinks of connections that listen now. */
  readonly sinks: Sink[];
  /** Ends the present listening with an error. */
  die(error: Error): void;
  verifyFailure: Error | undefined;
}

export function scriptedChannel(
  options: { listens?: boolean; ackBudgetMs?: number; supports?: Partial<ChannelInfo['supports']> } = {},
): ScriptedChannel {
  const deaths: ((error: Error) => void)[] = [];
  const scripted: ScriptedChannel = {
    delivered: [],
    outcomes: [],
    settlement: { type: 'unknowable' },
    connectFailures: [],
    connects: 0,
    closes: 0,
    sinks: [],
    verifyFailure: undefined,
    die: (error) => {
      for (const die of deaths.splice(0)) die(error);
    },
    type: {
      info: {
        type: 'local',
        terminology: { chat: 'chat', thread: 'thread', account: 'bot' },
        howToFindIds: 'in the test',
        supports: { threads: true, edits: true, reactions: true, files: true, buttons: false, typing: true, ...options.supports },
        defaultIsolation: 'Shared',
        ackBudgetMs: options.ackBudgetMs ?? 5_000,
      },
      connect: async ({ name, credentials }) => {
        const failure = scripted.connectFailures.shift();
        if (failure !== undefined) throw failure;
        if (credentials['token'] === 'bad') throw new TerminalError('Unauthorized', 'the platform refuses the token');
        scripted.connects += 1;
        return connection(name, credentials['token'] ?? 'no token');
      },
    },
  };
  const connection = (name: string, token: string): ConnectedChannel => {
    let open = true;
    return {
      info: scripted.type.info,
      account: `bot with ${token}`,
      dialect: { ...MRKDWN, maxLength: 100, maxBesideButtons: 0 },
      ...(options.listens === true
        ? {
            listen: (sink, signal, up) =>
              new Promise<void>((resolve, reject) => {
                const end = (): void => {
                  scripted.sinks.splice(scripted.sinks.indexOf(sink), 1);
                };
                scripted.sinks.push(sink);
                deaths.push((error) => {
                  end();
                  reject(error);
                });
                signal.addEventListener('abort', () => {
                  end();
                  resolve();
                });
                up();
              }),
          }
        : {
            webhook: async ({ rawBody, header }) => {
              if (header('x-signature') !== 'good') return { type: 'forged', message: 'the signature is not ours' };
              let events: unknown;
              try {
                events = JSON.parse(rawBody.toString());
              } catch {
                return { type: 'malformed', message: 'the body is not JSON' };
              }
              return { type: 'events', events: (events as Partial<IncomingMessage>[]).map((event) => scriptedMessage(name, event)) };
            },
          }),
      verify: async () => {
        if (scripted.verifyFailure !== undefined) throw scripted.verifyFailure;
      },
      deliver: async (delivery, signal) => {
        if (delivery.outgoing.kind === 'file') {
          const chunks: Uint8Array[] = [];
          for await (const chunk of delivery.outgoing.bytes) chunks.push(chunk);
          scripted.delivered.push({ ...delivery, outgoing: { ...delivery.outgoing, bytes: ReadableStream.from(chunks) } });
        } else scripted.delivered.push(delivery);
        const outcome = scripted.outcomes.shift();
        return outcome === undefined ? { type: 'delivered', platformMessageId: `p${scripted.delivered.length}` } : outcome(signal);
      },
      settle: async () => scripted.settlement,
      typing: async () => {},
      close: async () => {
        if (open) scripted.closes += 1;
        open = false;
      },
    };
  };
  return scripted;
}

export function scriptedMessage(channel: string, event: Partial<IncomingMessage>): IncomingMessage {
  const chat = event.chat ?? 'chat';
  return {
    type: 'message',
    chat,
    chatClass: 'Group',
    thread: '',
    opensThread: '',
    sender: 'alice',
    senderName: 'Alice',
    senderIsBot: false,
    platformMessageId: event.eventId ?? '',
    sentAtMs: 0,
    text: '',
    mentioned: true,
    attachments: [],
    ...event,
    eventId: `${channel}/${chat}/${event.eventId ?? '1'}`,
  };
}
