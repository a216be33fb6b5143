import { type AgentConfig, isDiskFull, JailError, TooLargeError } from '@dovecote/proto';
import { z } from 'zod';
import { toError } from '../lifecycle/exit.ts';
import type { Log } from '../lifecycle/log.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import type { ToolSpec } from '../providers/provider.ts';
import type { Tool, ToolContext } from './tool.ts';
import { ToolError } from './tool.ts';

/** More than a tool should give: a guard for the model's context, with beginning and end kept. */
const MAX_RESULT_CHARS = 120_000;

export interface ToolResult {
  readonly text: string;
  readonly isError: boolean;
}

/** The tools that one agent has, sorted by name so that the prompt's prefix stays the same. */
export class Toolbox {
  readonly #tools: ReadonlyMap<string, Tool>;
  readonly #log: Log;
  readonly specs: readonly ToolSpec[];

  /**
   * `allowed`: the names of the AgentGroup's list; absent: all. `remote` are the tools of MCP servers, each of which has a list of
   * its own.
   */
  constructor(tools: readonly Tool[], allowed: readonly string[] | undefined, log: Log, remote: readonly Tool[] = []) {
    this.#log = log;
    const own = tools.filter((tool) => allowed === undefined || allowed.includes(tool.name));
    const kept = [...own, ...remote].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#tools = new Map(kept.map((tool) => [tool.name, tool]));
    this.specs = kept.map(({ name, description, input, inputSchema }) => ({
      name,
      description,
      inputSchema: inputSchema ?? jsonSchema(input),
    }));
  }

  get names(): readonly string[] {
    return [...this.#tools.keys()];
  }

  repeatable(name: string): boolean {
    return this.#tools.get(name)?.repeatable ?? true; // an unknown tool has no effect: its error may be given again
  }

  /** How long a call may be silent, ms. undefined: no declared wait. */
  deadlineMs(name: string, input: unknown): number | undefined {
    const tool = this.#tools.get(name);
    const parsed = tool?.input.safeParse(input);
    return parsed?.success === true ? tool?.deadlineMs?.(parsed.data) : undefined;
  }

  /**
   * Runs one call. What the model can mend comes back as an error result. Throws only what the model cannot: a full
   * volume or broken file under the outbox, or a drain that cuts a wait (WaitCutError).
   */
  async run(name: string, input: unknown, context: ToolContext): Promise<ToolResult> {
    const tool = this.#tools.get(name);
    if (tool === undefined) return failed(`There is no tool named ${name}. Your tools: ${this.names.join(', ')}.`);
    if (typeof input === 'string')
      return failed('The input was not valid JSON, so the tool was not run. Call it again with a JSON object.');
    const parsed = tool.input.safeParse(input);
    if (!parsed.success) return failed(`The input does not fit: ${z.prettifyError(parsed.error)}`);
    if (tool.permission === 'approval')
      return failed(`${name} needs the approval of an administrator, and nobody can be asked for it yet. It was not run.`);
    try {
      return { text: shortened(await tool.run(parsed.data, context)), isError: false };
    } catch (e) {
      if (e instanceof ToolError || e instanceof JailError || e instanceof TooLargeError) return failed(shortened(e.message));
      if (isSqlite(e) || e instanceof WaitCutError) throw e; // the outbox, not the tool; the wait goes on in the next process
      if (isDiskFull(e)) return failed('The volume is full. Remove files that are not needed, then try again.');
      if (context.signal.aborted) return failed('Stopped before it ended.');
      const error = toError(e);
      this.#log.error({ err: error, tool: name }, 'a tool failed in a way it should not');
      return failed(`The tool failed: ${'code' in error ? String(error.code) : error.name}.`);
    }
  }
}

const NONE: readonly Tool[] = [];

/**
 * Makes an agent's toolbox once per configuration: its schemas take longer to make than a step's other work. `own` gives the
 * runner's tools and `remote` those of MCP servers as they are now: the same list as long as nothing changed.
 */
export function toolboxes(
  own: () => readonly Tool[],
  log: Log,
  remote: (agent: AgentConfig) => readonly Tool[] = () => NONE,
): (agent: AgentConfig) => Toolbox {
  const made = new WeakMap<AgentConfig, { readonly tools: readonly Tool[]; readonly from: readonly Tool[]; readonly toolbox: Toolbox }>();
  return (agent) => {
    const [tools, from] = [own(), remote(agent)];
    const known = made.get(agent);
    if (known?.tools === tools && known.from === from) return known.toolbox;
    const toolbox = new Toolbox(
      tools.filter((tool) => tool.offeredTo?.(agent) ?? true),
      agent.tools,
      log,
      from,
    );
    made.set(agent, { tools, from, toolbox });
    return toolbox;
  };
}

function isSqlite(e: unknown): boolean {
  return String(Object(e).code).startsWith('SQLITE_');
}

function shortened(text: string): string {
  const over = text.length - MAX_RESULT_CHARS;
  if (over <= 0) return text;
  const half = MAX_RESULT_CHARS / 2;
  return `${text.slice(0, half)}\n… (${over} characters left out) …\n${text.slice(-half)}`;
}

function failed(text: string): ToolResult {
  return { text, isError: true };
}

function jsonSchema(input: z.ZodType): Readonly<Record<string, unknown>> {
  const { $schema: _, ...schema } = z.toJSONSchema(input, { io: 'input' }) as Record<string, unknown>;
  return schema;
}
