import { parseDocument } from 'yaml';

export interface ParsedSkill {
  readonly name: string;
  /** one line */
  readonly description: string;
  readonly body: string;
}

const NAME = /^[A-Za-z0-9][-A-Za-z0-9_.]{0,63}$/;
const DESCRIPTION_CHARS = 1_024;

/** A SKILL.md: front matter between two lines of dashes, then the text. `folder` names it when it does not say. A string: what is wrong. */
export function parseSkill(text: string, folder: string): ParsedSkill | string {
  const [, head, body] = /^\uFEFF?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n(.*))?$/s.exec(text) ?? [];
  if (head === undefined) return 'it does not begin with front matter between two lines of ---';
  const document = parseDocument(head);
  const [fault] = document.errors;
  if (fault !== undefined) return `its front matter is no YAML: ${fault.message.split('\n')[0] ?? ''}`;
  let front: unknown;
  try {
    front = document.toJS({ maxAliasCount: 0 });
  } catch {
    return 'its front matter refers to its own parts'; // a few lines of which can be gigabytes
  }
  if (typeof front !== 'object' || front === null) return 'its front matter has no name and description';
  const { name = folder, description } = front as { name?: unknown; description?: unknown };
  if (typeof name !== 'string' || !NAME.test(name)) return 'its name must be letters, digits, dots, dashes and underscores, at most 64';
  if (typeof description !== 'string' || description.trim() === '') return 'it has no description';
  return { name, description: description.replace(/\s+/g, ' ').trim().slice(0, DESCRIPTION_CHARS), body: (body ?? '').trim() };
}
