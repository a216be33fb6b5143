/** messages_out.content, as it comes over the wire: JSON that a session's Pod wrote. Read once, here, by a parser that names the bad field. */
import { platform } from '@dovecote/proto';
import { z } from 'zod';
import type { Card } from '../channels/channel.ts';
import type { Markdown } from '../render/parts.ts';
import type { Question } from './question.ts';

const Chat = z.object({ text: z.string() });
const File = z.object({ name: z.string(), mimeType: z.string().default('application/octet-stream'), text: z.string().optional() });
const Edit = z.object({ text: z.string() });
const Reaction = z.object({ emoji: z.string().min(1).max(64) });
const CardContent = z.object({
  title: z.string(),
  text: z.string(),
  fields: z.array(z.object({ label: z.string(), value: z.string() })).default([]),
  links: z.array(z.object({ label: z.string(), url: z.string() })).default([]),
  fallback: z.string().default(''),
});
const QuestionContent = z.object({ title: z.string(), text: z.string(), options: z.array(z.object({ label: z.string() })) });

/** What a row says, in Markdown where it is text. */
export type Content =
  | { readonly kind: 'text'; readonly markdown: Markdown }
  | { readonly kind: 'file'; readonly name: string; readonly mimeType: string; readonly markdown: Markdown }
  | { readonly kind: 'edit'; readonly markdown: Markdown }
  | { readonly kind: 'reaction'; readonly emoji: string }
  | { readonly kind: 'card'; readonly card: Card; readonly markdown: Markdown }
  | { readonly kind: 'question'; readonly question: Question };

export class ContentError extends Error {
  override readonly name = 'ContentError';
}

/** Throws ContentError, which names the field. */
export function parseContent(kind: platform.OutboundKind, json: string): Content {
  switch (kind) {
    case platform.OutboundKind.CHAT:
      return { kind: 'text', markdown: read(Chat, json).text };
    case platform.OutboundKind.FILE: {
      const { name, mimeType, text = '' } = read(File, json);
      return { kind: 'file', name, mimeType, markdown: text };
    }
    case platform.OutboundKind.EDIT:
      return { kind: 'edit', markdown: read(Edit, json).text };
    case platform.OutboundKind.REACTION:
      return { kind: 'reaction', emoji: read(Reaction, json).emoji };
    case platform.OutboundKind.CARD: {
      const card = read(CardContent, json);
      const { title, text, fields, links } = card;
      const lines = [
        ...fields.map(({ label, value }) => `- **${label}:** ${value}`),
        ...links.map(({ label, url }) => `- [${label}](${url})`),
      ];
      const markdown = [title.trim() === '' ? '' : `**${title}**`, text, lines.join('\n')]
        .filter((part) => part.trim() !== '')
        .join('\n\n');
      return { kind: 'card', card, markdown };
    }
    case platform.OutboundKind.QUESTION: {
      const { title, text, options } = read(QuestionContent, json);
      return { kind: 'question', question: { title, text, labels: options.map(({ label }) => label) } };
    }
    default:
      throw new ContentError(`cannot send a message of kind ${kind}: it is none that this gateway knows`);
  }
}

function read<S extends z.ZodType>(schema: S, json: string): z.infer<S> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (thrown) {
    throw new ContentError('cannot read the content: it is not JSON', { cause: thrown });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new ContentError(`cannot read the content: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'bad form'}`);
}
