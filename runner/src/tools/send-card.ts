import type { CardContent } from '@dovecote/proto';
import { z } from 'zod';
import { addressee } from './addressee.ts';
import { defineTool } from './tool.ts';

export const sendCard = defineTool({
  name: 'send_card',
  description:
    'Sends a card at once: a title, a text, fields with labels, links. Where the platform has no cards, people see the fallback text, ' +
    'which is made from the rest when you give none.',
  input: z.object({
    title: z.string().min(1).max(150),
    text: z.string().max(3_000).optional().describe('In Markdown.'),
    fields: z
      .array(z.object({ label: z.string().min(1).max(100), value: z.string().max(1_000) }))
      .max(20)
      .optional(),
    links: z
      .array(z.object({ label: z.string().min(1).max(75), url: z.url({ protocol: /^(https?|mailto)$/ }).max(2_000) }))
      .max(10)
      .optional(),
    fallback: z.string().min(1).max(20_000).optional().describe('What people see where there are no cards, in Markdown.'),
    to: z.string().min(1).max(128).optional().describe('The name of a destination; the chat you are answering when absent.'),
  }),
  permission: 'always',
  repeatable: true, // the row's id is the call's: a second run finds it
  async run({ to, fallback, title, text = '', fields, links }, context) {
    const whole = { title, text, ...(fields !== undefined && { fields }), ...(links !== undefined && { links }) };
    const content: CardContent = { ...whole, fallback: fallback ?? fallbackOf(whole) };
    const seq = context.send({ id: context.rowId, kind: 'card', ...addressee(to, context), content });
    return `Sent as message ${seq}.`;
  },
});

/** The same in Markdown. */
function fallbackOf({ title, text, fields = [], links = [] }: Omit<CardContent, 'fallback'>): string {
  return [
    `**${title}**`,
    ...(text === '' ? [] : [text]),
    ...(fields.length === 0 ? [] : [fields.map(({ label, value }) => `**${label}:** ${value}`).join('\n')]),
    ...(links.length === 0 ? [] : [links.map(({ label, url }) => `[${label}](${url})`).join('\n')]),
  ].join('\n\n');
}
