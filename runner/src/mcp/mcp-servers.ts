/**
 * The MCP servers of one agent: on the path between the turn, which takes their tools from here before each step, and the
 * servers themselves, programs in this Pod or addresses behind the proxy.
 *
 *   turn ► toolbox ► McpServers ► SupervisedServer ► Connection ► StdioTransport ► a process group in this Pod
 *                                 (restarts)         (the SDK)  └► httpTransport ► proxy ► a server elsewhere
 *
 * Everything below Connection is loaded when the first server is: an agent without servers pays nothing for them.
 */
import type { McpServerConfig } from '@dovecote/proto';
import { z } from 'zod';
import { defineTool, type Tool, ToolError } from '../tools/tool.ts';
import type { ListedTool } from './listed-tools.ts';
import { renderResult } from './render-result.ts';
import { CALL_WAIT_MS, SupervisedServer, type SupervisorDeps } from './supervised-server.ts';
import { toolNames } from './tool-names.ts';

/** What the server makes of its input is its own business: it checks it against the schema that it gave. */
const ANYTHING = z.record(z.string(), z.unknown());
const NONE: readonly Tool[] = [];

interface Entry {
  readonly config: McpServerConfig;
  readonly server: SupervisedServer;
  made: { readonly from: readonly ListedTool[]; readonly tools: readonly Tool[] } | undefined;
}

export type McpServersDeps = Omit<SupervisorDeps, 'onChange'> & {
  /** tools came, went or changed */
  readonly onChange?: () => void;
};

export class McpServers {
  readonly #deps: McpServersDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #closing = new Set<Promise<void>>();
  #configs: readonly McpServerConfig[] | undefined;
  #tools: readonly Tool[] | undefined = NONE;
  #closed = false;

  constructor(deps: McpServersDeps) {
    this.#deps = deps;
  }

  /**
   * Makes the servers those of `configs`: starts new ones in the background, ends those that are gone, starts anew those that are
   * run or reached differently now. The others keep running. Costs nothing when called again with the same list.
   */
  apply(configs: readonly McpServerConfig[] | undefined): void {
    if (configs === this.#configs || this.#closed) return;
    this.#configs = configs;
    const wanted = new Map((configs ?? []).map((config) => [config.name, config]));
    for (const [name, { config, server }] of this.#entries) {
      const next = wanted.get(name);
      if (next !== undefined && runsTheSame(next, config)) continue;
      this.#entries.delete(name);
      this.#deps.log.info({ server: name }, next === undefined ? 'an MCP server was removed' : 'an MCP server has new settings');
      const closing = server.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    for (const config of wanted.values()) {
      const known = this.#entries.get(config.name);
      if (known !== undefined) {
        this.#entries.set(config.name, { config, server: known.server, made: undefined });
        continue;
      }
      const server = new SupervisedServer(config, { ...this.#deps, onChange: () => this.#changed() });
      this.#entries.set(config.name, { config, server, made: undefined });
      server.start();
    }
    this.#changed();
  }

  /** The tools as they are now: the same list as long as none changed. A server that is away keeps those that it had. */
  get tools(): readonly Tool[] {
    this.#tools ??= this.#makeTools();
    return this.#tools;
  }

  /** One sentence, for the model, per server that offers nothing: sorted, and the same until that changes. */
  get missing(): readonly string[] {
    return [...this.#entries.values()]
      .filter(({ server }) => server.absent !== undefined && server.tools.length === 0)
      .map(({ server }) => `The MCP server ${server.name} ${server.absent}.`)
      .sort();
  }

  /** Waits until each server was up, or failed, once; no longer than `ms`. */
  async settled(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#entries.size === 0) return;
    const enough = new AbortController();
    const patience = this.#deps.clock.sleep(ms, AbortSignal.any([signal, enough.signal])).catch(() => {});
    await Promise.race([Promise.all([...this.#entries.values()].map(({ server }) => server.settled)), patience]);
    enough.abort();
  }

  /** Ends them all. Resolves when none of their processes runs. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#closing, ...[...this.#entries.values()].map(({ server }) => server.close())]);
  }

  #changed(): void {
    this.#tools = undefined;
    this.#deps.onChange?.();
  }

  #makeTools(): readonly Tool[] {
    return [...this.#entries.values()].flatMap((entry) => {
      if (entry.made?.from !== entry.server.tools) entry.made = { from: entry.server.tools, tools: this.#toolsOf(entry) };
      return entry.made.tools;
    });
  }

  #toolsOf({ config, server }: Entry): readonly Tool[] {
    const allowed = server.tools.filter(({ name }) => config.tools === undefined || config.tools.includes(name));
    const unknown = (config.tools ?? []).filter((name) => !server.tools.some((tool) => tool.name === name));
    if (unknown.length > 0 && server.tools.length > 0)
      this.#deps.log.warn({ server: config.name, tools: unknown }, 'the settings name tools that an MCP server does not have');
    const names = toolNames(
      config.name,
      allowed.map(({ name }) => name),
    );
    return allowed.map((listed) => mcpTool(names.get(listed.name) ?? listed.name, listed, config, server));
  }
}

function mcpTool(name: string, listed: ListedTool, { timeoutMs }: McpServerConfig, server: SupervisedServer): Tool {
  return defineTool({
    name,
    description: listed.description === '' ? `The tool ${listed.name} of the MCP server ${server.name}.` : listed.description,
    input: ANYTHING,
    inputSchema: listed.inputSchema,
    permission: 'always',
    repeatable: listed.repeatable,
    deadlineMs: () => CALL_WAIT_MS + timeoutMs,
    async run(args, { signal, progressed }) {
      const result = await server.call({ tool: listed.name, args, timeoutMs, signal, onProgress: progressed });
      const text = renderResult(result);
      if (result.isError === true) throw new ToolError(text);
      return text;
    },
  });
}

/** What the agent may use of it, and for how long, may change while it runs. */
function runsTheSame(a: McpServerConfig, b: McpServerConfig): boolean {
  const run = ({ type, command, env }: McpServerConfig): string => JSON.stringify([type, command, Object.entries(env ?? {}).sort()]);
  return run(a) === run(b);
}
