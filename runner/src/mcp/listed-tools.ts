import { z } from 'zod';
import { checkSchema } from './tool-schema.ts';

/** One tool as a server lists it, after it was found fit for a model. */
export interface ListedTool {
  /** as the server knows it */
  readonly name: string;
  readonly description: string;
  readonly inputSchema: Readonly<Record<string, unknown>>;
  /** the server says that a second run does no more than the first */
  readonly repeatable: boolean;
}

export interface RefusedTool {
  readonly name: string;
  readonly fault: string;
}

export interface ToolList {
  /** sorted by name */
  readonly tools: readonly ListedTool[];
  readonly refused: readonly RefusedTool[];
}

const MAX_TOOLS = 256;
const MAX_NAME = 128;
const MAX_DESCRIPTION_CHARS = 4_000;
/** Of descriptions and schemas together: all of it is sent with each request to the model. */
const MAX_TOTAL_CHARS = 512 * 1024;

/** One page of tools/list. Each tool is looked at by itself: a broken one must not take the others with it. */
export const ToolPage = z.looseObject({ tools: z.array(z.unknown()), nextCursor: z.string().optional() });

const Tool = z.looseObject({
  name: z.string().min(1).max(MAX_NAME),
  description: z.string().nullish(),
  inputSchema: z.unknown(),
  annotations: z.looseObject({ readOnlyHint: z.unknown(), idempotentHint: z.unknown() }).partial().nullish().catch(undefined),
  execution: z.looseObject({ taskSupport: z.unknown() }).partial().nullish().catch(undefined),
});

/** Takes what a model can use and says why it leaves out the rest. */
export function readToolList(listed: readonly unknown[]): ToolList {
  const tools = new Map<string, ListedTool>();
  const refused: RefusedTool[] = [];
  let chars = 0;
  for (const entry of listed) {
    const parsed = Tool.safeParse(entry);
    if (!parsed.success) {
      refused.push({ name: nameOf(entry), fault: 'it has no name, or not one of 1 to 128 characters, or a description that is no text' });
      continue;
    }
    const { name, description, inputSchema, annotations, execution } = parsed.data;
    const refuse = (fault: string): number => refused.push({ name, fault });
    const checked = checkSchema(inputSchema);
    if ('fault' in checked) refuse(checked.fault);
    else if (execution?.taskSupport === 'required') refuse('it only works as a task of its own');
    else if (tools.has(name)) refuse('the server lists it twice');
    else if (tools.size >= MAX_TOOLS) refuse(`the server lists more than ${MAX_TOOLS} tools`);
    else {
      const tool: ListedTool = {
        name,
        description: cut(description ?? ''),
        inputSchema: checked.schema,
        repeatable: annotations?.readOnlyHint === true || annotations?.idempotentHint === true,
      };
      chars += tool.description.length + JSON.stringify(tool.inputSchema).length;
      if (chars > MAX_TOTAL_CHARS) refuse(`the tools before it take ${MAX_TOTAL_CHARS} characters already`);
      else tools.set(name, tool);
    }
  }
  return { tools: [...tools.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), refused };
}

function nameOf(entry: unknown): string {
  const name = typeof entry === 'object' && entry !== null && 'name' in entry ? entry.name : undefined;
  return typeof name === 'string' ? name.slice(0, MAX_NAME) : '(no name)';
}

function cut(description: string): string {
  return description.length <= MAX_DESCRIPTION_CHARS ? description : `${description.slice(0, MAX_DESCRIPTION_CHARS)}…`;
}
