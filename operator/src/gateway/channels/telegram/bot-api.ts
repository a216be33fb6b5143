/** Telegram's Bot API through telegraf's client. Its polling is not used: it moves the offset on before the updates are stored. */
import { Telegram } from 'telegraf';
import type { Clock } from '../../../lib/clock.ts';
import { abandonAfter } from '../../../lib/deadline.ts';

const TIMEOUT_MS = 15_000;

export class BotApi {
  readonly #telegram: Telegram;
  readonly #token: string;
  readonly #root: string;
  readonly #clock: Clock;

  constructor(options: { readonly token: string; readonly apiUrl: string | undefined; readonly clock: Clock }) {
    this.#token = options.token;
    this.#root = (options.apiUrl ?? 'https://api.telegram.org').replace(/\/+$/, '');
    this.#clock = options.clock;
    this.#telegram = new Telegram(options.token, { apiRoot: this.#root, webhookReply: false });
  }

  /** Rejects as `fromTelegram` reads it. `timeoutMs` is for calls that are slow by design. */
  call(method: string, payload: object, signal: AbortSignal, timeoutMs = TIMEOUT_MS): Promise<unknown> {
    // telegraf types every method apart, and knows none that is newer than itself.
    const callApi = this.#telegram.callApi.bind(this.#telegram) as unknown as (
      m: string,
      p: object,
      o: { signal: AbortSignal },
    ) => Promise<unknown>;
    return abandonAfter({ ms: timeoutMs, what: `call ${method}`, clock: this.#clock, signal }, (within) =>
      callApi(method, payload, { signal: within }),
    );
  }

  /** The bytes of a file, by the path that getFile gave. No error of it names the address, which holds the token. */
  async download(path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const url = `${this.#root}/file/bot${this.#token}/${path.split('/').map(encodeURIComponent).join('/')}`;
    let response: Response;
    try {
      response = await fetch(url, { signal });
    } catch {
      throw new Error('Telegram cannot be reached');
    }
    if (response.ok && response.body !== null) return response.body;
    await response.body?.cancel();
    throw new Error(`HTTP ${response.status}`);
  }
}
