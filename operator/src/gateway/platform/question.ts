/** How a question reads: with buttons, without them, and when it has been answered. Pure. */
import type { Button } from '../channels/channel.ts';
import type { PlatformDialect } from '../render/dialect.ts';
import { parts } from '../render/parts.ts';

export interface QuestionText {
  readonly title: string;
  readonly text: string;
}

export interface Question extends QuestionText {
  readonly labels: readonly string[];
}

/** Slack takes no more on a button, and a phone shows less. */
const MAX_LABEL = 75;

/** For platforms without buttons: the number, or the label itself, is the answer. Markdown. */
export function numberedQuestion({ title, text, labels }: Question): string {
  const numbered = labels.map((label, i) => `${i + 1}. ${label}`).join('\n');
  return paragraphs(bold(title), text, numbered);
}

export interface QuestionPieces {
  /** Rendered; what does not fit beside buttons goes before them in messages of its own. */
  readonly before: readonly string[];
  /** Rendered, never blank. */
  readonly beside: string;
  readonly buttons: readonly Button[];
}

/** `dataOf` gives what the button of an option carries. */
export function questionPieces(question: Question, dialect: PlatformDialect, dataOf: (option: number) => string): QuestionPieces {
  const { title, text, labels } = question;
  // A label that is cut must be read in full somewhere, and a message needs some text.
  const cut = labels.some((label) => label.length > MAX_LABEL);
  const body = cut || paragraphs(title, text) === '' ? numberedQuestion(question) : paragraphs(bold(title), text);
  const buttons = labels.map((label, i) => ({ label: cut ? shortened(`${i + 1}. ${label}`) : label, data: dataOf(i) }));
  const [whole = '', ...further] = parts(body, dialect, dialect.maxBesideButtons);
  if (further.length === 0) return { before: [], beside: whole, buttons };
  return { before: parts(body, dialect), beside: shortTitle(title, dialect), buttons };
}

/** What stands in place of the message that bore the buttons. Rendered. */
export function answeredQuestion(
  { title, text, label, answeredBy }: QuestionText & { readonly label: string; readonly answeredBy: string },
  dialect: PlatformDialect,
): string {
  const choice = `✓ ${bold(plain(label))}${answeredBy === '' ? '' : ` (${plain(answeredBy)})`}`;
  const [whole = '', ...further] = parts(paragraphs(bold(title), text, choice), dialect, dialect.maxBesideButtons);
  if (further.length === 0) return whole;
  return `${shortTitle(title, dialect)}\n\n${dialect.render(choice).trim()}`;
}

function shortTitle(title: string, dialect: PlatformDialect): string {
  return parts(bold(title), dialect, Math.floor(dialect.maxBesideButtons / 2))[0] ?? 'Please choose:';
}

function bold(text: string): string {
  return text.trim() === '' ? '' : `**${text.trim()}**`;
}

/** A person's name is no Markdown, whatever they call themselves. */
function plain(text: string): string {
  return text.replace(/[\\`*_~[\]()<>#|!&:.@]/g, '\\$&');
}

function shortened(label: string): string {
  return label.length <= MAX_LABEL ? label : `${label.slice(0, MAX_LABEL - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

function paragraphs(...all: readonly string[]): string {
  return all.filter((part) => part.trim() !== '').join('\n\n');
}
