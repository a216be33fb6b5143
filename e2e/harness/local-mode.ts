/** `dovecote local` as a real process of the bundle that the image runs, with a state folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serverSentEvents } from '../../operator/src/cli/api-client.ts';
import { until } from './until.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** A row of the conversation as the page gets it. */
export interface Row {
  readonly session: string;
  readonly seq: number;
  readonly direction: 'in' | 'out';
  readonly kind: string;
  readonly state: string;
  readonly content: string;
  readonly eventId: string;
  readonly senderName: string;
  readonly platformMessageId: string;
}

export const textOf = (row: Row): string => (JSON.parse(row.content) as { text?: string }).text ?? '';

export interface LocalModeOptions {
  /** file name → YAML */
  readonly manifests: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
}

export class LocalMode {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dovecote-'));
  readonly state: string = join(this.folder, 'state');
  readonly manifests: string = join(this.folder, 'manifests');
  readonly #options: LocalModeOptions;
  #child: ChildProcess | undefined;
  #server = { url: '', token: '' };
  #output = '';

  constructor(options: LocalModeOptions) {
    this.#options = options;
    mkdirSync(this.manifests, { recursive: true });
    for (const [name, text] of Object.entries(options.manifests)) writeFileSync(join(this.manifests, name), text);
  }

  static async start(options: LocalModeOptions): Promise<LocalMode> {
    const house = new LocalMode(options);
    await house.start();
    return house;
  }

  /** Everything the process printed since it was last started. */
  get output(): string {
    return this.#output;
  }
  get url(): string {
    return this.#server.url;
  }
  get token(): string {
    return this.#server.token;
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** `flags` for this start only. */
  async start(flags: readonly string[] = []): Promise<void> {
    this.#output = '';
    const args = [join(root, 'dist/operator/main.mjs'), 'local', '--manifests', this.manifests, '--state', this.state, '--port', '0', '--output', 'json', ...(this.#options.flags ?? []), ...flags];
    const child = spawn(join(root, 'node_modules/node/bin/node'), args, {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.folder, ...this.#options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const collect = (chunk: Buffer): void => {
      this.#output += chunk.toString();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    this.#server = await until('local mode is ready', () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`local mode ended (${child.exitCode ?? child.signalCode}):\n${this.#output}`);
      const line = this.#output.split('\n').find((text) => text.startsWith('{"event":"ready"'));
      return line === undefined ? undefined : (JSON.parse(line) as { url: string; token: string });
    });
  }

  /** Resolves when the process is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await ended;
    return child.exitCode;
  }

  /** Resolves when the process ends by itself, as at a crash point. */
  async ended(): Promise<NodeJS.Signals | number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) await new Promise<void>((resolve) => child.once('exit', () => resolve()));
    return child.signalCode ?? child.exitCode;
  }

  async dispose(): Promise<void> {
    await this.stop('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }

  async request(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.#server.url}${path}`, { ...init, headers: { authorization: `Bearer ${this.#server.token}`, 'content-type': 'application/json', ...init.headers } });
  }

  /** PIDs of the runners that are alive, by session. */
  runners(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const [session, pid] of Object.entries(JSON.parse(readFileSync(join(this.state, 'pods.json'), 'utf8')) as Record<string, number>)) found.set(session, pid);
    return found;
  }

  chat(channel = 'web', chat: string = randomUUID()): LocalChat {
    return new LocalChat(this, channel, chat);
  }
}

/** One chat of the web channel, by the page's own API. */
export class LocalChat {
  readonly chat: string;
  readonly #house: LocalMode;
  readonly #path: string;

  constructor(house: LocalMode, channel: string, chat: string) {
    this.chat = chat;
    this.#house = house;
    this.#path = `/api/channels/${encodeURIComponent(channel)}/chats/${encodeURIComponent(chat)}`;
  }

  /** Answers with the event id. Throws when the server did not take it. */
  async send(text: string, id: string = randomUUID()): Promise<{ eventId: string; refused: string[] }> {
    const response = await this.#house.request(`${this.#path}/messages`, { method: 'POST', body: JSON.stringify({ id, text }) });
    const body = (await response.json()) as { eventId: string; refused: string[]; message?: string };
    if (!response.ok) throw new Error(`the message was not taken: ${response.status} ${body.message ?? ''}`);
    return body;
  }

  /** Sends until the server takes it, as the page does: the same id makes that one message. */
  async insist(text: string, id: string = randomUUID()): Promise<void> {
    await until(`"${text}" is taken`, async () => {
      try {
        await this.send(text, id);
        return true;
      } catch {
        return undefined;
      }
    });
  }

  /** The conversation's rows as they are now, by seq. */
  async rows(): Promise<Row[]> {
    const found = new Map<string, Row>();
    const quiet = new AbortController();
    let timer = setTimeout(() => quiet.abort(), 500);
    try {
      const response = await fetch(`${this.#house.url}${this.#path}/events`, { headers: { authorization: `Bearer ${this.#house.token}` }, signal: quiet.signal });
      for await (const { event, data } of serverSentEvents(response)) {
        clearTimeout(timer);
        timer = setTimeout(() => quiet.abort(), 200);
        if (event !== 'message') continue;
        const row = JSON.parse(data) as Row;
        found.set(`${row.session}/${row.seq}`, row);
      }
    } catch (e) {
      if (!quiet.signal.aborted && !(e instanceof TypeError)) throw e; // TypeError: not up at this moment
    } finally {
      clearTimeout(timer);
    }
    return [...found.values()].sort((a, b) => a.seq - b.seq);
  }

  /** The delivered answers, in order. */
  async answers(): Promise<string[]> {
    return (await this.rows()).filter((row) => row.direction === 'out' && row.state === 'delivered').map(textOf);
  }

  /** Waits until a delivered answer matches. */
  async answer(matching: RegExp | string, timeoutMs = 30_000): Promise<string> {
    return until(
      `an answer matches ${matching}`,
      async () => (await this.answers()).find((text) => (typeof matching === 'string' ? text.includes(matching) : matching.test(text))),
      timeoutMs,
    );
  }
}
