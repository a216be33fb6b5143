/** MCP servers as a session has them, with what they did to be looked at. For tests only. */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { McpServerConfig } from '@dovecote/proto';
import { pino } from 'pino';
import { systemClock } from '../../lifecycle/clock.ts';
import { systemRandom } from '../../lifecycle/random.ts';
import type { ToolContext } from '../../tools/tool.ts';
import { Toolbox, type ToolResult } from '../../tools/toolbox.ts';
import { McpServers, type McpServersDeps } from '../mcp-servers.ts';

const SCRIPTED = join(import.meta.dirname, 'scripted-server.ts');

/** A scripted server's settings. */
export function scripted(name: string, mode = 'good', more: Partial<McpServerConfig> = {}): McpServerConfig {
  return { name, type: 'stdio', command: [process.execPath, SCRIPTED, mode], timeoutMs: 60_000, ...more };
}

/** The settings of a server behind the proxy. */
export function remote(name: string, more: Partial<McpServerConfig> = {}): McpServerConfig {
  return { name, type: 'http', timeoutMs: 60_000, ...more };
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export class TestServers {
  readonly workspace: string = realpathSync(mkdtempSync(join(tmpdir(), 'dovecote-mcp-')));
  /** where the Pod's token lies */
  readonly tokenFile: string = join(this.workspace, '.token');
  readonly log: LogLine[] = [];
  readonly servers: McpServers;

  /** `proxy`: its base URL, with the token that the Pod shows */
  constructor(deps: Partial<McpServersDeps> = {}, proxy?: { readonly url: string; readonly token: string }) {
    if (proxy !== undefined) this.setToken(proxy.token);
    this.servers = new McpServers({
      reach: {
        workspace: this.workspace,
        env: () => ({ PATH: process.env['PATH'] ?? '', HOME: this.workspace }),
        proxy: proxy === undefined ? undefined : { url: proxy.url, tokenFile: this.tokenFile },
        version: '0.0.0',
      },
      clock: systemClock,
      random: systemRandom,
      log: pino({ level: 'debug' }, { write: (line) => this.log.push(JSON.parse(line) as LogLine) }),
      ...deps,
    });
  }

  /** As kubelet does when it exchanges the token. */
  setToken(token: string): void {
    writeFileSync(this.tokenFile, `${token}\n`);
  }

  /** Applies and waits until each was up or failed once. */
  async apply(...configs: readonly McpServerConfig[]): Promise<void> {
    this.servers.apply(configs);
    await this.servers.settled(60_000, new AbortController().signal);
  }

  get names(): readonly string[] {
    return this.#toolbox().names;
  }

  /** As the turn does: a toolbox of the tools as they are now. */
  use(name: string, input: unknown = {}, context: Partial<ToolContext> = {}): Promise<ToolResult> {
    return this.#toolbox().run(name, input, { signal: new AbortController().signal, progressed: () => {}, ...context } as ToolContext);
  }

  lines(msg: string): readonly LogLine[] {
    return this.log.filter((line) => line.msg === msg);
  }

  #toolbox(): Toolbox {
    return new Toolbox([], undefined, pino({ level: 'silent' }), this.servers.tools);
  }

  async close(): Promise<void> {
    await this.servers.close();
    rmSync(this.workspace, { recursive: true, force: true });
  }
}
