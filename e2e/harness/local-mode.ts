/** `dovecote local` as a real process of the bundle that the image runs, with a state folder of its own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CellFiles } from './cell-files.ts';
import { until } from './until.ts';
import { WebChat } from './web-chat.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const NODE: string = join(root, 'node_modules/node/bin/node');
/** The operator's bundle. */
export const PROGRAM: string = join(root, 'dist/operator/main.mjs');
/** A start on a machine that is busy with other tests. */
const START_MS = 240_000;

/** A test or bench that dies must not leave any behind. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface LocalModeOptions {
  /** file name → YAML or JSON */
  readonly manifests: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  /** Where the state lies, when not in a folder of its own that goes with the test. */
  readonly state?: string;
}

export class LocalMode {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dovecote-'));
  readonly state: string;
  readonly manifests: string = join(this.folder, 'manifests');
  readonly files: CellFiles;
  readonly #options: LocalModeOptions;
  readonly #disposed = new AbortController();
  #child: ChildProcess | undefined;
  #server = { url: '', token: '' };
  #output = '';

  constructor(options: LocalModeOptions) {
    this.#options = options;
    this.state = options.state ?? join(this.folder, 'state');
    this.files = new CellFiles(join(this.state, 'shard'));
    this.declare(options.manifests);
  }

  static async start(options: LocalModeOptions): Promise<LocalMode> {
    const house = new LocalMode(options);
    try {
      await house.start();
    } catch (e) {
      await house.dispose();
      throw e;
    }
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
  /** Aborts when the test is over. */
  get disposed(): AbortSignal {
    return this.#disposed.signal;
  }

  /** What the next start finds in the manifests folder. */
  declare(manifests: Readonly<Record<string, string>>): void {
    rmSync(this.manifests, { recursive: true, force: true });
    mkdirSync(this.manifests, { recursive: true });
    for (const [name, text] of Object.entries(manifests)) writeFileSync(join(this.manifests, name), text);
  }

  /** Log lines at `warn` and above that `matching` finds, of the present run. */
  complaints(matching: RegExp = /./): string[] {
    return this.#output.split('\n').filter((line) => line.startsWith('{"level":') && matching.test(line));
  }

  /** `flags` for this start only. Rejects with what was printed when the process ends instead. */
  async start(flags: readonly string[] = []): Promise<void> {
    this.#output = '';
    const own = ['--manifests', this.manifests, '--state', this.state, '--port', '0', '--output', 'json'];
    const child = spawn(NODE, [PROGRAM, 'local', ...own, ...withLittleReserve([...(this.#options.flags ?? []), ...flags])], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.folder, ...this.#options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    running.add(child);
    child.once('exit', () => running.delete(child));
    const collect = (chunk: Buffer): void => {
      this.#output += chunk.toString();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    this.#server = await until(
      'local mode is ready',
      () => {
        if (gone(child)) throw new Error(`local mode ended (${child.exitCode ?? child.signalCode}):\n${this.#output}`);
        const line = this.#output.split('\n').find((text) => text.startsWith('{"event":"ready"'));
        return line === undefined ? undefined : (JSON.parse(line) as { url: string; token: string });
      },
      START_MS,
    );
  }

  /** Resolves when the process is gone: its exit code, null after a signal. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child?.kill(signal);
    await this.ended();
    return this.#child?.exitCode ?? null;
  }

  async restart(flags: readonly string[] = []): Promise<void> {
    await this.stop();
    await this.start(flags);
  }

  /** Whether it runs at this moment. */
  get alive(): boolean {
    return this.#child !== undefined && !gone(this.#child);
  }

  /** Resolves when the process ends by itself, as at a crash point. */
  async ended(): Promise<NodeJS.Signals | number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    if (!gone(child)) await new Promise<void>((resolve) => child.once('exit', () => resolve()));
    return child.signalCode ?? child.exitCode;
  }

  /** Ends it, its runners too, and removes the state. */
  async dispose(): Promise<void> {
    this.#disposed.abort();
    await this.stop('SIGTERM');
    for (const pid of this.runners().values()) kill(pid, 'SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  async request(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.#server.url}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${this.#server.token}`, 'content-type': 'application/json', ...init.headers },
    });
  }

  /** A GET of the API, parsed. */
  async json<T>(path: string): Promise<T> {
    const response = await this.request(path);
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** A command of the same program against this house: `dovecote why …`. */
  command(...args: readonly string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
    return new Promise((resolve) => {
      const options = { env: { PATH: process.env['PATH'] ?? '', HOME: this.folder } };
      execFile(NODE, [PROGRAM, ...args, '--state', this.state], options, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
      });
    });
  }

  /** PIDs of the runners that are alive, by session. */
  runners(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const uid of list(join(this.state, 'kubelet/pods'))) {
      try {
        const pid = Number(readFileSync(join(this.state, 'kubelet/pods', uid, 'process'), 'utf8').split('\n')[0]);
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        const at = args.indexOf('--session');
        if (at > 0) found.set(args[at + 1] ?? '', pid);
      } catch {
        // ended between the two looks
      }
    }
    return found;
  }

  /** Waits until the session has a runner, and gives its pid. */
  runner(session: string, except = 0): Promise<number> {
    return until(
      `session ${session} has a runner`,
      () => {
        const pid = this.runners().get(session);
        return pid === except ? undefined : pid;
      },
      START_MS,
    );
  }

  chat(channel = 'web', chat: string = randomUUID()): LocalChat {
    return new LocalChat(this, channel, chat);
  }
}

/** One chat of the web channel of this house. */
export class LocalChat extends WebChat {
  /** Its scope in files, when its sessions are shared ones. */
  readonly scope: string;
  readonly #house: LocalMode;

  constructor(house: LocalMode, channel: string, chat: string) {
    super(house, channel, chat);
    this.#house = house;
    this.scope = `${encodeURIComponent(channel)}/${encodeURIComponent(chat)}`;
  }

  /** The session that this chat has now, from the files: nobody need look at the page. */
  override session(): Promise<string> {
    return until(`chat ${this.chat} has a session`, () => this.#house.files.find(this.scope));
  }
}

/** The reserve of a shard is 64 MiB, written and synced: a house that lives for seconds gets by with one. */
function withLittleReserve(flags: readonly string[]): string[] {
  const at = flags.lastIndexOf('--limits');
  const limits = (at < 0 ? {} : JSON.parse(flags[at + 1] ?? '{}')) as { readonly delivery?: object };
  return [...flags, '--limits', JSON.stringify({ ...limits, delivery: { reserveBytes: 2 ** 20, ...limits.delivery } })];
}

function gone(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Harmless when it has ended. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended
  }
}
