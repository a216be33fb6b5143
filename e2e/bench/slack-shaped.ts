/**
 * A platform as thin as it can be, in the process that measures: it signs events as Slack does and takes posts at once, so that both
 * ends of a message have one clock. An emulator would measure itself.
 */
import { createHmac } from 'node:crypto';
import { Agent, createServer, request, type Server } from 'node:http';
import { LocalMode, type LocalModeOptions } from '../harness/local-mode.ts';
import { type Manifests, manifest, secret } from '../harness/objects.ts';
import { until } from '../harness/until.ts';

const SECRET = 'bench';

export class SlackShaped {
  url = '';
  /** When a post with this text came, ms. */
  readonly #arrived = new Map<string, number>();
  readonly #waiting = new Map<string, (at: number) => void>();
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1_000 });
  #count = 0;
  posts = 0;

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

  static async start(): Promise<SlackShaped> {
    const slack = new SlackShaped();
    await new Promise<void>((resolve) => slack.#server.listen(0, '127.0.0.1', resolve));
    const address = slack.#server.address();
    slack.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    return slack;
  }

  /** Local mode with one Channel `team` that this is, and the chats that `manifests` wire. */
  async house(manifests: Manifests, options: Partial<LocalModeOptions> = {}): Promise<LocalMode> {
    return LocalMode.start({
      ...options,
      manifests: {
        ...secret('team', { 'bot-token': 'xoxb', 'signing-secret': SECRET }),
        ...manifest('Channel', 'team', {
          type: 'slack',
          slack: { mode: 'Webhook', apiURL: `${this.url}/api/`, credentialsRef: { name: 'team' } },
          rateLimit: { perSecond: 1_000, burst: 10_000 },
        }),
        ...manifests,
      },
    });
  }

  async connected(house: LocalMode): Promise<void> {
    await until('the Channel is connected', async () => (await this.#post(house, '{}', false)) === 401, 60_000);
  }

  /** Sends an event; ms until it was acknowledged. Throws when it was not. */
  async say(house: LocalMode, chat: string, text: string): Promise<number> {
    this.#count += 1;
    const ts = `${Math.floor(Date.now() / 1000)}.${String(this.#count).padStart(6, '0')}`;
    const event = { type: 'message', channel: chat, channel_type: 'channel', user: 'U1', text, ts };
    const body = JSON.stringify({ type: 'event_callback', team_id: 'T', event_id: `Ev${ts}`, event_time: 0, event });
    const began = performance.now();
    const status = await this.#post(house, body, true);
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
  async roundTrip(house: LocalMode, chat: string, word: string): Promise<number> {
    const began = performance.now();
    const taken = this.say(house, chat, `say ${word}`);
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

  #post(house: LocalMode, body: string, signed: boolean): Promise<number> {
    const at = Math.floor(Date.now() / 1000);
    const signature = `v0=${createHmac('sha256', SECRET).update(`v0:${at}:${body}`).digest('hex')}`;
    return new Promise((resolve, reject) => {
      const call = request(
        `${house.url}/channels/team`,
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
