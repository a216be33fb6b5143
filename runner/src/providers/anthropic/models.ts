/**
 * What is known of Anthropic's models, in one place; docs/reference/models.md is written from it. A model that is not here
 * works too: it is asked for nothing that it might refuse.
 */
import type { AgentConfig } from '@dovecote/proto';
import type { ProviderRequest } from '../provider.ts';

/** The model of agents that name none. The only place that says it. */
export const DEFAULT_MODEL = 'claude-sonnet-5-5';

/**
 * `always`: cannot be turned off. `by-itself`: unless it is turned off. `when-asked`: not by itself. `never`: it has no adaptive
 * thinking (older models have fixed budgets, which we do not use).
 */
export type Thinking = 'always' | 'by-itself' | 'when-asked' | 'never';

export interface Model {
  /** tokens that it can read and write together */
  readonly context: number;
  /** tokens of the longest answer that it can give */
  readonly maxOutput: number;
  /** tokens of the longest answer that we ask for, thinking included */
  readonly answer: number;
  /** the highest effort that it takes; undefined: it takes none */
  readonly effort: AgentConfig['effort'] | undefined;
  readonly thinking: Thinking;
  /** what turns thinking off, for those that think by themselves */
  readonly off: 'disabled' | 'between_tools' | undefined;
  /** its thinking counts only behind the very system prompt, tools and messages that it had; else the API refuses it */
  readonly bound: boolean;
  /** the API can sum up a long conversation with it */
  readonly compacts: boolean;
  /** reads pictures and PDFs */
  readonly files: boolean;
}

const LARGE = { context: 1_000_000, maxOutput: 128_000, answer: 64_000, effort: 'max', bound: false, compacts: true, files: true } as const;
const ALWAYS: Model = { ...LARGE, thinking: 'always', off: undefined };
const BY_ITSELF: Model = { ...LARGE, thinking: 'by-itself', off: 'disabled' };
const WHEN_ASKED: Model = { ...LARGE, thinking: 'when-asked', off: undefined };
const OLDER: Model = {
  context: 200_000,
  maxOutput: 64_000,
  answer: 32_000,
  effort: undefined,
  thinking: 'never',
  off: undefined,
  bound: false,
  compacts: false,
  files: true,
};

/** By id without a date. Source: the model pages of platform.claude.com, as of November 2026. */
export const MODELS: ReadonlyMap<string, Model> = new Map([
  ['claude-fable-5-2', { ...ALWAYS, bound: true }],
  ['claude-mythos-5-2', { ...ALWAYS, bound: true }],
  ['claude-opus-5-5', { ...ALWAYS, bound: true }],
  ['claude-sonnet-5-5', { ...BY_ITSELF, off: 'between_tools', bound: true }],
  ['claude-haiku-5-5', { ...BY_ITSELF, bound: true }],
  ['claude-fable-5-1', { ...ALWAYS, bound: true }],
  ['claude-mythos-5-1', { ...ALWAYS, bound: true }],
  ['claude-fable-5', ALWAYS],
  ['claude-mythos-5', ALWAYS],
  ['claude-opus-5', BY_ITSELF],
  ['claude-sonnet-5', BY_ITSELF],
  ['claude-mythos-preview', ALWAYS],
  ['claude-opus-4-8', WHEN_ASKED],
  ['claude-opus-4-7', WHEN_ASKED],
  ['claude-opus-4-6', WHEN_ASKED],
  ['claude-sonnet-4-6', { ...WHEN_ASKED, maxOutput: 64_000, answer: 32_000 }],
  ['claude-opus-4-5', { ...OLDER, effort: 'high' }],
  ['claude-sonnet-4-5', OLDER],
  ['claude-haiku-4-5', OLDER],
]);

/** A Claude that is newer than this table. */
const UNKNOWN_CLAUDE: Model = OLDER;
/** Whatever else answers behind another base URL. */
const UNKNOWN: Model = { ...OLDER, maxOutput: 8_192, answer: 8_192, files: false };

/** Takes ids with and without their date. */
export function modelOf(id: string): Model {
  return MODELS.get(id.replace(/-\d{8}$/, '')) ?? (id.startsWith('claude-') ? UNKNOWN_CLAUDE : UNKNOWN);
}

export interface Reasoning {
  readonly effort: AgentConfig['effort'] | undefined;
  /** what is asked of the API; undefined: nothing, the model does as it does */
  readonly thinking: 'adaptive' | 'disabled' | 'between_tools' | undefined;
}

const EFFORTS: readonly AgentConfig['effort'][] = ['low', 'medium', 'high', 'max'];

/** What an agent asks for, as far as its model takes it. */
export function reasoning(model: Model, asked: Pick<ProviderRequest, 'effort' | 'thinking'>): Reasoning {
  const thinking =
    asked.thinking === 'off' ? model.off : asked.thinking === 'adaptive' && model.thinking !== 'never' ? 'adaptive' : undefined;
  // Without thinking, the models that can do without refuse more than this.
  const top = thinking === 'disabled' || thinking === 'between_tools' ? lower(model.effort, 'high') : model.effort;
  return { thinking, effort: top === undefined ? undefined : lower(asked.effort, top) };
}

function lower<T extends AgentConfig['effort'] | undefined>(a: T, b: AgentConfig['effort']): T | AgentConfig['effort'] {
  return a === undefined || EFFORTS.indexOf(a) <= EFFORTS.indexOf(b) ? a : b;
}
