/** The small language of the demo provider: one operation per line of a message. README.md is its reference. */
import type { Usage } from '@dovecote/proto';

export type Operation =
  | { readonly op: 'say'; readonly text: string }
  | { readonly op: 'echo'; readonly text: string }
  | { readonly op: 'think'; readonly text: string }
  | { readonly op: 'usage'; readonly usage: Usage }
  | { readonly op: 'title'; readonly text: string }
  | { readonly op: 'stream'; readonly text: string }
  | { readonly op: 'sleep'; readonly ms: number }
  | { readonly op: 'tools'; readonly calls: readonly { readonly name: string; readonly input: unknown }[] }
  | { readonly op: 'fail'; readonly how: string; readonly always: boolean; readonly retryAfterMs: number | undefined }
  | { readonly op: 'hang' }
  | { readonly op: 'crash'; readonly always: boolean }
  | { readonly op: 'remember'; readonly text: string }
  | { readonly op: 'recall' };

/** A message's operations. A message without any is echoed; in one with some, other lines are comments. */
export function parseScript(text: string): readonly Operation[] {
  const operations: Operation[] = [];
  for (const line of text.split('\n')) {
    const also = /^also\s+(\S+)\s*(\{.*\})?$/.exec(line.trim());
    const last = operations.at(-1);
    if (also !== null && last?.op === 'tools') {
      operations[operations.length - 1] = { op: 'tools', calls: [...last.calls, { name: also[1] ?? '', input: input(also[2]) }] };
      continue;
    }
    const operation = parseLine(line.trim());
    if (operation !== undefined) operations.push(operation);
  }
  return operations.length > 0 ? operations : [{ op: 'echo', text: text.trim() }];
}

function parseLine(line: string): Operation | undefined {
  const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(line) ?? [];
  switch (word) {
    case 'say':
      return rest === '' ? undefined : { op: 'say', text: rest };
    case 'think':
      return rest === '' ? undefined : { op: 'think', text: rest };
    case 'title':
      return rest === '' ? undefined : { op: 'title', text: rest };
    case 'usage': {
      const usage = rest.startsWith('{') ? parseUsage(input(rest)) : undefined;
      return usage === undefined ? undefined : { op: 'usage', usage };
    }
    case 'stream': {
      const slowly = /^slowly\s+(.+)$/s.exec(rest)?.[1];
      return slowly === undefined ? undefined : { op: 'stream', text: slowly };
    }
    case 'sleep': {
      const ms = duration(rest);
      return ms === undefined ? undefined : { op: 'sleep', ms };
    }
    case 'tool': {
      const call = /^([a-z][a-z0-9_]*)\s*(\{.*)?$/s.exec(rest);
      return call?.[1] === undefined ? undefined : { op: 'tools', calls: [{ name: call[1], input: input(call[2]) }] };
    }
    case 'fail': {
      const parts = /^(always\s+)?(network|\d{3})(?:\s+retry-after\s+(\S+))?$/.exec(rest);
      return parts === null
        ? undefined
        : { op: 'fail', how: parts[2] ?? '', always: parts[1] !== undefined, retryAfterMs: duration(parts[3] ?? '') };
    }
    case 'hang':
      return rest === '' ? { op: 'hang' } : undefined;
    case 'crash':
      return rest === 'here' || rest === 'always' ? { op: 'crash', always: rest === 'always' } : undefined;
    case 'remember':
      return rest === '' ? undefined : { op: 'remember', text: rest };
    case 'recall':
      return rest === '' ? { op: 'recall' } : undefined;
    default:
      return undefined;
  }
}

/** An input that is not JSON stays a string, as from a model that stopped in the middle of it. */
function input(json: string | undefined): unknown {
  if (json === undefined) return {};
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

const FIGURES = ['inputTokens', 'outputTokens', 'cacheReadTokens', 'cacheWriteTokens', 'reasoningTokens'] as const;

/** undefined: not an object of such figures. */
function parseUsage(value: unknown): Usage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entries = Object.entries(value);
  const known = entries.every(([name, figure]) => FIGURES.some((f) => f === name) && Number.isSafeInteger(figure) && figure >= 0);
  return known ? { inputTokens: 0, outputTokens: 0, ...(value as Partial<Usage>) } : undefined;
}

function duration(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  return Number(number) * (unit === 'ms' ? 1 : unit === 's' ? 1_000 : 60_000);
}
