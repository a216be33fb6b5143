/**
 * A platform as thin as it can be, in the process that measures: it signs events as Slack does and takes posts at once, so that both
 * ends of a message have one clock. An emulator would measure itself.
 */
import { createHmac } from 'node:crypto';
import { Agent, createServer, request, type Server } from 'node:http';
import { LocalMode, type LocalModeOptions } from '../harness/local-mode.ts';
import { type Manifests, manifest, secret } from '../harness/objects.ts';
import { until } from '../harness/until.ts';

export const BENCH_SECRET = 'bench';

/** Where events are sent: local mode, or a gateway on a cluster. */
export interface Target {
  readonly url: string;
}

const pathOf = (target: Target): string => `${target.url}/channels/team`;

export class SlackShaped {
  url = '';
  /** When a post with this text came, ms. */
  readonly #arrived = new Map<string, number>();
  readonly #waiting = new Map<string, (at: number) => void>();
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1_000 });
  #count = 0;
  posts = 0;
  /** events that were answered 503 and sent again */
  refused = 0;

  private constructor() {
    this.#server = createServer((call, response) => {
      const chunks: Buffer[] = [];
      call.on('data', (chunk: Buffer) => chunks.push(chunk));
      call.on('end', () => {
        const at = performance.now();
        response.setHeader('content-type', 'application/json');
        if (call.url?.endsWith('chat.postMessage')) {
          this.#count += 1;
          this.posts += 1;
          response.end(JSON.stringify({ ok: true, channel: 'C', ts: `${1_700_000_000 + this.#count}.000100` }));
          const body = Buffer.concat(chunks).toString();
          const text = call.headers['content-type']?.includes('json')
            ? (JSON.parse(body) as { text: string }).text
            : (new URLSearchParams(body).get('text') ?? '');
          for (const word of text.split('\n')) this.#arrive(word, at);
        } else if (call.url?.endsWith('auth.test'))
          response.end(JSON.stringify({ ok: true, user_id: 'UBOT', bot_id: 'B0', user: 'bench', team: 'bench' }));
        else if (call.url?.endsWith('users.info'))
          response.end(JSON.stringify({ ok: true, user: { id: 'U1', name: 'alice', real_name: 'Alice' } }));
        else response.end(JSON.stringify({ ok: true, messages: [] }));
      });
    });
  }

  /** Listens on `host` alone. */
  static async start(host = '127.0.0.1'): Promise<SlackShaped> {
    const slack = new SlackShaped();
    await new Promise<void>((resolve, reject) => slack.#server.once('error', reject).listen(0, host, resolve));
    const address = slack.#server.address();
    slack.url = `http://${host}:${typeof address === 'object' && address !== null ? address.port : 0}`;
    return slack;
  }

  /** Local mode with one Channel `team` that this is, and the chats that `manifests` wire. */
  async house(manifests: Manifests, options: Partial<LocalModeOptions> = {}): Promise<LocalMode> {
    return LocalMode.start({
      ...options,
      manifests: {
        ...secret('team', { 'bot-token': 'xoxb', 'signing-secret': BENCH_SECRET }),
        ...manifest('Channel', 'team', {
          type: 'slack',
          slack: { mode: 'Webhook', apiURL: `${this.url}/api/`, credentialsRef: { name: 'team' } },
          rateLimit: { perSecond: 1_000, burst: 10_000 },
        }),
        ...manifests,
      },
    });
  }

  async connected(target: Target, webhook = pathOf(target)): Promise<void> {
    await until('the Channel is connected', async () => (await this.#post(webhook, '{}', false)) === 401, 60_000);
  }

  /** Sends an event, again when it is answered 503, as Slack does; ms until it was acknowledged. */
  async say(target: Target, chat: string, text: string, webhook = pathOf(target)): Promise<number> {
    this.#count += 1;
    const ts = `${Math.floor(Date.now() / 1000)}.${String(this.#count).padStart(6, '0')}`;
    const event = { type: 'message', channel: chat, channel_type: 'channel', user: 'U1', text, ts };
    const body = JSON.stringify({ type: 'event_callback', team_id: 'T', event_id: `Ev${ts}`, event_time: 0, event });
    const began = performance.now();
    let status = await this.#post(webhook, body, true);
    for (; status === 503; status = await this.#post(webhook, body, true)) this.refused += 1;
    if (status !== 200) throw new Error(`the event was answered ${status}`);
    return performance.now() - began;
  }

  /** ms on this process's clock at which a post with this line came. */
  arrival(word: string): Promise<number> {
    const at = this.#arrived.get(word);
    if (at !== undefined) return Promise.resolve(at);
    return new Promise((resolve) => this.#waiting.set(word, resolve));
  }

  /** ms from the first byte of the event to the call that answers it. */
  async roundTrip(target: Target, chat: string, word: string, webhook = pathOf(target)): Promise<number> {
    const began = performance.now();
    const taken = this.say(target, chat, `say ${word}`, webhook);
    const at = await this.arrival(word);
    await taken;
    return at - began;
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #arrive(word: string, at: number): void {
    if (!this.#arrived.has(word)) this.#arrived.set(word, at);
    this.#waiting.get(word)?.(at);
    this.#waiting.delete(word);
  }

  #post(webhook: string, body: string, signed: boolean): Promise<number> {
    const at = Math.floor(Date.now() / 1000);
    const signature = `v0=${createHmac('sha256', BENCH_SECRET).update(`v0:${at}:${body}`).digest('hex')}`;
    return new Promise((resolve, reject) => {
      const call = request(
        webhook,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            'content-type': 'application/json',
            ...(signed && { 'x-slack-request-timestamp': String(at), 'x-slack-signature': signature }),
          },
        },
        (response) => {
          response.resume();
          response.once('end', () => resolve(response.statusCode ?? 0));
        },
      );
      call.once('error', reject);
      call.end(body);
    });
  }
}
