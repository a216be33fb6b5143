import { z } from 'zod';
import { KeptOutput } from '../tools/kept-output.ts';

const HEAD_BYTES = 48 * 1024;
const TAIL_BYTES = 16 * 1024;

/** The answer to tools/call, read as loosely as servers write it. */
export const CallResult = z.looseObject({
  content: z.array(z.unknown()).default([]),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional(),
});
export type CallResult = z.infer<typeof CallResult>;

const text = z.string();
const bytes = z.string().transform((base64) => Math.floor((base64.length * 3) / 4));
const Item = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text }),
  z.looseObject({ type: z.literal('image'), data: bytes, mimeType: text.optional() }),
  z.looseObject({ type: z.literal('audio'), data: bytes, mimeType: text.optional() }),
  z.looseObject({
    type: z.literal('resource_link'),
    uri: text,
    name: text.optional(),
    title: text.optional(),
    description: text.optional(),
    mimeType: text.optional(),
  }),
  z.looseObject({
    type: z.literal('resource'),
    resource: z.looseObject({ uri: text, mimeType: text.optional(), text: text.optional(), blob: bytes.optional() }),
  }),
]);

/**
 * A result as text for the model: of a long one the beginning and the end. What is no text is named with its type and size,
 * because a model that is told nothing takes an image for an empty answer.
 */
export function renderResult({ content, structuredContent }: CallResult): string {
  const items = content.map(renderItem);
  if (structuredContent !== undefined && structuredContent !== null && !content.some((item) => saysTheSame(item, structuredContent)))
    items.push(json(structuredContent));
  const shown = items.filter((item) => item !== '').join('\n');
  if (shown === '') return '(no output)';
  const kept = new KeptOutput(HEAD_BYTES, TAIL_BYTES);
  kept.add(Buffer.from(shown));
  return kept.text();
}

function renderItem(item: unknown): string {
  const parsed = Item.safeParse(item);
  if (!parsed.success) return `(content of a kind that cannot be shown: ${kindOf(item)})`;
  const value = parsed.data;
  switch (value.type) {
    case 'text':
      return value.text;
    case 'image':
    case 'audio':
      return `(${value.type}, ${value.mimeType ?? 'type unknown'}, about ${value.data} bytes: not shown)`;
    case 'resource_link': {
      const about = [value.title ?? value.name, value.mimeType, value.description].filter((part) => part !== undefined && part !== '');
      return `(resource ${value.uri}${about.length === 0 ? '' : `: ${about.join(', ')}`})`;
    }
    case 'resource': {
      const { uri, mimeType, text: body, blob } = value.resource;
      const head = `resource ${uri}${mimeType === undefined ? '' : `, ${mimeType}`}`;
      if (body !== undefined) return `(${head})\n${body}`;
      return `(${head}, about ${blob ?? 0} bytes: not shown)`;
    }
  }
}

/** Servers repeat structured content as a text, for clients that know nothing of it. */
function saysTheSame(item: unknown, structured: unknown): boolean {
  const parsed = Item.safeParse(item);
  if (!parsed.success || parsed.data.type !== 'text') return false;
  try {
    return JSON.stringify(JSON.parse(parsed.data.text)) === JSON.stringify(structured);
  } catch {
    return false; // plain words
  }
}

function json(value: unknown): string {
  try {
    return JSON.stringify(value, null, 1);
  } catch {
    return '(structured content that is nested too deeply to be shown)';
  }
}

function kindOf(item: unknown): string {
  const type = typeof item === 'object' && item !== null && 'type' in item ? item.type : undefined;
  return typeof type === 'string' ? type.slice(0, 40) : 'unknown';
}
