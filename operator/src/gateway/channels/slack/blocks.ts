/** What Slack lays out for us: buttons and cards. Limits are of docs.slack.dev, "Blocks" and "Block elements". */
import type { KnownBlock } from '@slack/web-api';
import { MRKDWN } from '../../render/mrkdwn.ts';
import type { Button, Card } from '../channel.ts';

const MAX_BLOCKS = 50;
const MAX_HEADER = 150;
const MAX_SECTION = 3_000;
const MAX_FIELD = 2_000;
const FIELDS_OF_SECTION = 10;
const BUTTONS_OF_BLOCK = 25;

/** Of the buttons that ask something: others may be in a message that people forwarded or other apps wrote. */
export const ACTION_PREFIX = 'dovecote-answer-';

/** `text` is mrkdwn of at most 3,000 characters. */
export function questionBlocks(text: string, buttons: readonly Button[]): KnownBlock[] {
  const elements = buttons.map(({ label, data }, i) => ({
    type: 'button' as const,
    action_id: `${ACTION_PREFIX}${i}`,
    text: { type: 'plain_text' as const, text: label, emoji: true },
    value: data,
  }));
  return [section(text), ...inGroups(elements, BUTTONS_OF_BLOCK).map((group) => ({ type: 'actions' as const, elements: group }))];
}

/** undefined: there is more of it than Slack lays out. */
export function cardBlocks({ title, text, fields, links }: Card): KnownBlock[] | undefined {
  if (title.length > MAX_HEADER) return undefined;
  const body = MRKDWN.render(text).trim();
  const cells = fields.map(({ label, value }) => MRKDWN.render(`**${label}**\n${value}`).trim()).filter((cell) => cell !== '');
  const below = MRKDWN.render(links.map(({ label, url }) => `[${label}](${url})`).join('\n')).trim();
  if (body.length > MAX_SECTION || below.length > MAX_SECTION || cells.some((cell) => cell.length > MAX_FIELD)) return undefined;
  const blocks: KnownBlock[] = [
    ...(title.trim() === '' ? [] : [{ type: 'header' as const, text: { type: 'plain_text' as const, text: title, emoji: true } }]),
    ...(body === '' ? [] : [section(body)]),
    ...inGroups(cells, FIELDS_OF_SECTION).map((group) => ({ type: 'section' as const, fields: group.map(mrkdwn) })),
    ...(below === '' ? [] : [section(below)]),
  ];
  return blocks.length === 0 || blocks.length > MAX_BLOCKS ? undefined : blocks;
}

function section(text: string): KnownBlock {
  return { type: 'section', text: mrkdwn(text) };
}

function mrkdwn(text: string): { type: 'mrkdwn'; text: string } {
  return { type: 'mrkdwn', text };
}

function inGroups<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}
