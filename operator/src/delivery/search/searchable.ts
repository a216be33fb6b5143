import type { Shown } from '../sessions/conversation.ts';
import type { SearchableRow } from './search-store.ts';

/** A message as it can be found; undefined: there is nothing in it to find, or the host itself said it. */
export function searchable(message: Shown): SearchableRow | undefined {
  if (message.kind === 'notice' || message.kind === 'reaction') return undefined;
  const text = textOf(message.content);
  if (text.trim() === '') return undefined;
  const own = message.direction === 'out';
  return { seq: message.seq, own, sender: message.senderName, text, at: message.createdAtMs };
}

/** All that people could read of it. Content of outbound rows is the agent's: anything may stand there. */
export function textOf(content: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch {
    return '';
  }
  return [...words(parsed, 0)].join('\n').replaceAll('\0', ' ').toWellFormed();
}

/** In the order in which people read them; each only where a content of ours has it. */
const FIELDS = ['title', 'text', 'name', 'label', 'value', 'options', 'fields', 'links', 'attachments', 'url'] as const;
const MAX_PARTS = 200;
/** An attachment is three deep: content, list, attachment. */
const MAX_DEPTH = 3;

function* words(value: unknown, depth: number): Generator<string> {
  if (typeof value === 'string' && depth > 0) yield value;
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return;
  const parts = Array.isArray(value) ? value.slice(0, MAX_PARTS) : FIELDS.map((field): unknown => Reflect.get(value, field));
  for (const part of parts) if (!(Array.isArray(value) && typeof part === 'string')) yield* words(part, depth + 1);
}
