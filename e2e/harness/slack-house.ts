/** Local mode behind a Slack workspace: the emulator, a mock before it that can fail, and the house that both talk to. */
import type { MessagingGroupSpecInput } from '@dovecote/crds';
import { scriptedPress } from '../../operator/src/gateway/channels/slack/scripted-press.ts';
import { type Fault, MockPlatformFaults } from '../../operator/src/gateway/testing/mock-platform-faults.ts';
import { BOT_TOKEN, SlackEmulator } from '../emulators/slack.ts';
import { LocalMode, type LocalModeOptions } from './local-mode.ts';
import { demoAgent, type Manifests, manifest, secret } from './objects.ts';
import { until } from './until.ts';

const HOST = '127.0.0.1';

export interface SlackHouseOptions extends Omit<LocalModeOptions, 'manifests'> {
  /** Beside the Channel `team` and its Secret; the agent `helper` for every chat when absent. `person` is the id of who writes there. */
  readonly manifests?: Manifests | ((person: string) => Manifests);
  readonly channel?: {
    readonly maxAttachmentBytes?: string;
    readonly inDoubt?: 'Resend' | 'DeadLetter';
    readonly rateLimit?: { readonly perSecond: number; readonly burst: number };
  };
  /** Instead of the mock before the emulator, as the Web API. */
  readonly apiURL?: string;
  /** Gets the mock before the house is started. */
  readonly onMock?: (mock: MockPlatformFaults) => void;
}

/** An event as Slack would send it; what is absent is a plain message of Alice in the emulator's chat. */
export interface SlackSays {
  readonly text: string;
  readonly ts?: string;
  readonly chat?: string;
  readonly chatType?: 'channel' | 'im' | 'group';
  readonly user?: string;
  readonly thread?: string;
  readonly more?: Readonly<Record<string, unknown>>;
  readonly eventId?: string;
}

let count = 0;
/** Like Slack's: seconds with a counter behind them, never twice. */
export function nextTs(): string {
  count += 1;
  return `${Math.floor(Date.now() / 1000)}.${String(count).padStart(6, '0')}`;
}

export class SlackHouse {
  readonly house: LocalMode;
  readonly slack: SlackEmulator;
  readonly mock: MockPlatformFaults;

  private constructor(house: LocalMode, slack: SlackEmulator, mock: MockPlatformFaults) {
    this.house = house;
    this.slack = slack;
    this.mock = mock;
  }

  static async start(options: SlackHouseOptions = {}): Promise<SlackHouse> {
    const slack = await SlackEmulator.start(HOST);
    const mock = await MockPlatformFaults.start(slack.apiUrl.replace(/\/api\/$/, ''));
    const { manifests, channel, apiURL, onMock, ...rest } = options;
    onMock?.(mock);
    const house = new LocalMode({
      ...rest,
      manifests: {
        ...secret('team', { 'bot-token': BOT_TOKEN, 'signing-secret': slack.signingSecret }),
        ...manifest('Channel', 'team', {
          type: 'slack',
          slack: { mode: 'Webhook', apiURL: apiURL ?? `${mock.url}/api/`, credentialsRef: { name: 'team' } },
          ...channel,
        }),
        ...((typeof manifests === 'function' ? manifests(slack.person) : manifests) ?? { ...demoAgent('helper'), ...slackChats() }),
      },
    });
    const scene = new SlackHouse(house, slack, mock);
    try {
      await scene.begin();
    } catch (e) {
      await scene.dispose();
      throw e;
    }
    return scene;
  }

  /** Starts the house again, or for the first time; resolves when Slack's calls reach its Channel. */
  async begin(flags: readonly string[] = []): Promise<void> {
    await this.house.start(flags);
    await this.connected();
    this.slack.subscribe(`${this.house.url}/channels/team`);
  }

  async connected(): Promise<void> {
    await until('the Slack Channel is connected', async () => (await this.post('{}', {})) === 401);
  }

  /** A call to the webhook; its status. */
  async post(body: string | Buffer, headers: Readonly<Record<string, string>>): Promise<number> {
    const response = await fetch(`${this.house.url}/channels/team`, { method: 'POST', body: body as string, headers });
    await response.body?.cancel();
    return response.status;
  }

  /** The body of a signed event. */
  event(said: SlackSays): { readonly body: string; readonly ts: string } {
    const ts = said.ts ?? nextTs();
    const event = {
      type: 'message',
      channel: said.chat ?? this.slack.chat,
      channel_type: said.chatType ?? 'channel',
      user: said.user ?? 'U000000001',
      text: said.text,
      ts,
      ...(said.thread !== undefined && { thread_ts: said.thread }),
      ...said.more,
    };
    const id = said.eventId ?? `Ev${ts.replace('.', '')}`;
    return {
      ts,
      body: JSON.stringify({ type: 'event_callback', team_id: 'T000000001', event_id: id, event_time: Math.floor(Number(ts)), event }),
    };
  }

  /** Sends a signed event; the message's ts. Throws unless it was taken. */
  async says(said: SlackSays): Promise<string> {
    const { body, ts } = this.event(said);
    const status = await this.insist(body);
    if (status !== 200) throw new Error(`the event was answered ${status}`);
    return ts;
  }

  /** The answer to an event that is signed and, as Slack does, sent again while a busy machine has not taken it in time. */
  insist(body: string): Promise<number> {
    return until(
      'the event is taken in time',
      async () => {
        const status = await this.post(body, this.slack.signature(body));
        return status !== 503 && status;
      },
      60_000,
    );
  }

  /** Someone presses a button: scripted, because the emulator has no interactivity. The status of our answer. */
  press(button: { readonly ts: string; readonly thread?: string; readonly user: string; readonly data: string }): Promise<number> {
    return this.post(...scriptedPress({ chat: this.slack.chat, at: Date.now(), ...button }, this.slack.signingSecret));
  }

  /** What a call of `chat.postMessage` said, in order of the calls. */
  posted(): { readonly channel: string; readonly text: string; readonly thread_ts?: string }[] {
    return this.mock.callsOf('chat.postMessage').map((call) => parseBody(call.body, call.headers['content-type'] ?? ''));
  }

  /** Fails the next calls of chat.postMessage. */
  failNext(...faults: readonly Fault[]): void {
    this.mock.next('chat.postMessage', ...faults);
  }

  async dispose(): Promise<void> {
    await this.house.dispose();
    await this.mock.close();
    // The emulator's server waits for connections that nobody uses any more: five seconds that no test needs.
    void this.slack.close();
  }
}

export interface Post {
  readonly channel: string;
  readonly text: string;
  readonly thread_ts?: string;
}

/**
 * A mock that takes posts to every chat, also those that the emulator does not know. `refuse` gives Slack's word for what is wrong
 * with a post. Answers with the list of the posts that were taken, which grows.
 */
export function acceptEverything(mock: MockPlatformFaults, refuse: (post: Post) => string | undefined = () => undefined): readonly Post[] {
  const taken: Post[] = [];
  mock.answer('chat.postMessage', (call) => {
    const post = parseBody<Post>(call.body, call.headers['content-type'] ?? '');
    const error = refuse(post);
    if (error !== undefined) return { ok: false, error };
    taken.push(post);
    return { ok: true, channel: post.channel, ts: `${1_700_000_000 + taken.length}.000100` };
  });
  return taken;
}

/** The agent `helper` in every chat of the Channel `team`. */
export function slackChats(
  spec: Partial<MessagingGroupSpecInput> = {},
  agent: Partial<MessagingGroupSpecInput['agents'] extends (infer W)[] | undefined ? W : never> = {},
): Manifests {
  return manifest('MessagingGroup', 'team', {
    channelRef: 'team',
    chatClass: 'Any',
    unknownSenders: 'Public',
    agents: [{ agentGroupRef: 'helper', engage: { mode: 'Always' }, ...agent }],
    ...spec,
  });
}

export function parseBody<T>(body: Buffer, contentType: string): T {
  const text = body.toString();
  return (contentType.includes('json') ? JSON.parse(text) : Object.fromEntries(new URLSearchParams(text))) as T;
}
