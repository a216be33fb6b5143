/** How one platform writes text, and how much of it fits into one message. Pure: every replica renders alike. */
export interface PlatformDialect {
  /** The longest text of one message, in what `length` counts. */
  readonly maxLength: number;
  /** The longest text that goes with a file; 0: none. */
  readonly maxCaption: number;
  /** The longest text that stands beside buttons; 0: the platform has none. */
  readonly maxBesideButtons: number;
  /** From Markdown to the platform's own. Never throws: what cannot be read as Markdown is shown as it stands. */
  render(markdown: string): string;
  /** How the platform measures a rendered text. */
  length(rendered: string): number;
}
