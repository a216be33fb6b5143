import { createHash } from 'node:crypto';

/** What every provider takes as the name of a tool. */
const MAX_NAME = 64;
const FORBIDDEN = /[^A-Za-z0-9_-]/g;
const HASH = 8;

/**
 * The names by which a model knows a server's tools: mcp__<server>__<tool>, with characters that providers refuse as
 * underscores. A name that is too long, or that another tool has, ends in a hash of the tool's own name, so that it does not depend
 * on the order in which the server lists them. `tools` holds no name twice.
 */
export function toolNames(server: string, tools: readonly string[]): ReadonlyMap<string, string> {
  const prefix = `mcp__${server.replace(FORBIDDEN, '_')}__`;
  const plain = (tool: string): string => `${prefix}${tool.replace(FORBIDDEN, '_')}`;
  const isPlain = (tool: string): boolean => plain(tool) === `${prefix}${tool}` && plain(tool).length <= MAX_NAME;
  const taken = new Set(tools.filter(isPlain).map(plain));
  const named = new Map<string, string>();
  for (const tool of [...tools].sort()) {
    if (isPlain(tool)) {
      named.set(tool, plain(tool));
      continue;
    }
    const wanted = plain(tool);
    const free = wanted.length <= MAX_NAME && !taken.has(wanted);
    const hash = createHash('sha256').update(tool).digest('hex').slice(0, HASH);
    const name = free ? wanted : `${wanted.slice(0, MAX_NAME - HASH - 1)}_${hash}`;
    taken.add(name);
    named.set(tool, name);
  }
  return named;
}
