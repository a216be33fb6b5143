import type { OutboundKindName } from '@dovecote/proto';
import { z } from 'zod';

/**
 * What a row may hold, by its kind. The agent writes these rows: a field that is missing or of another type sets the row aside, a field
 * that we do not know (a newer runner's) is left out.
 */
const text = z.string().min(1);
const seq = z.int().min(1);

const Chat = z.object({ text });
const File = z.object({
  path: text.max(512),
  name: text.max(255),
  mimeType: text.max(255),
  sizeBytes: z.int().min(0),
  text: z.string().optional(),
});
const Edit = z.object({ target: seq, text });
const Reaction = z.object({ target: seq, emoji: text.max(64) });
const Card = z.object({
  title: text,
  text: z.string(),
  fields: z
    .array(z.object({ label: z.string(), value: z.string() }))
    .max(50)
    .optional(),
  links: z
    .array(z.object({ label: text, url: z.url({ protocol: /^(https?|mailto)$/ }) }))
    .max(20)
    .optional(),
  fallback: text,
});
const Question = z.object({
  questionId: text.max(128),
  title: z.string(),
  text: z.string(),
  options: z
    .array(z.object({ label: text.max(256), value: z.string().max(1024) }))
    .min(1)
    .max(50),
  expiresAt: z.int(),
});
const Action = z.object({ action: text.max(128), payload: z.unknown() });

export type Content =
  | ({ readonly kind: 'chat' } & z.infer<typeof Chat>)
  | ({ readonly kind: 'file' } & z.infer<typeof File>)
  | ({ readonly kind: 'edit' } & z.infer<typeof Edit>)
  | ({ readonly kind: 'reaction' } & z.infer<typeof Reaction>)
  | ({ readonly kind: 'card' } & z.infer<typeof Card>)
  | ({ readonly kind: 'question' } & z.infer<typeof Question>)
  | ({ readonly kind: 'action' } & z.infer<typeof Action>);

export type FileContent = Extract<Content, { kind: 'file' }>;

/** The content is not what its kind asks for. The message names the field and holds nothing that the agent wrote. */
export class BadContentError extends Error {
  override readonly name = 'BadContentError';
}

/** Throws BadContentError. */
export function parseContent(kind: OutboundKindName, json: string): Content {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (cause) {
    throw new BadContentError('its content is not JSON', { cause });
  }
  switch (kind) {
    case 'chat':
      return { kind, ...check(Chat, raw) };
    case 'file':
      return { kind, ...check(File, raw) };
    case 'edit':
      return { kind, ...check(Edit, raw) };
    case 'reaction':
      return { kind, ...check(Reaction, raw) };
    case 'card':
      return { kind, ...check(Card, raw) };
    case 'question':
      return { kind, ...check(Question, raw) };
    case 'action':
      return { kind, ...check(Action, raw) };
  }
}

/** As the gateway gets it. Always the same for the same content, because splitting a text must come out alike each time. */
export function contentJson({ kind: _, ...content }: Content): string {
  return JSON.stringify(content);
}

function check<T>(schema: z.ZodType<T>, raw: unknown): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const field = issue?.path.join('.') ?? '';
  throw new BadContentError(
    `its content has ${field === '' ? 'the wrong form' : `a wrong ${field}`}${issue === undefined ? '' : `: ${sentence(issue)}`}`,
  );
}

/** zod's own messages may repeat the value. */
function sentence(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `${issue.expected} is expected`;
    case 'too_small':
      return `it must have at least ${issue.minimum}`;
    case 'too_big':
      return `it must have at most ${issue.maximum}`;
    default:
      return 'it is not of the expected form';
  }
}
