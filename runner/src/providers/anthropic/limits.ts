/** The model of agents that name none. The only place that says it. */
export const DEFAULT_MODEL = 'claude-sonnet-5-5';
/** The longest answer asked for, tokens. */
export const MAX_TOKENS = 32_000;
/** Characters of transcript that surely fit: about 150,000 tokens. */
export const TRANSCRIPT_CHARS = 600_000;
