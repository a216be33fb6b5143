import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { DEFAULT_MODEL, MODELS, type Model, modelOf, reasoning } from './models.ts';

const PAGE = join(import.meta.dirname, '../../../../docs/reference/models.md');

const tokens = (count: number): string => (count % 1_000_000 === 0 ? `${count / 1_000_000}M` : `${count / 1_000}k`);
const yes = (is: boolean): string => (is ? 'yes' : 'no');
const OFF = { disabled: 'can be turned off', between_tools: 'can be turned off, but for short notes between tools' };
const thinking = ({ thinking: how, off }: Model): string =>
  how === 'always'
    ? 'always'
    : how === 'when-asked'
      ? 'when asked'
      : how === 'never'
        ? 'no'
        : `by itself; ${off === undefined ? '' : OFF[off]}`;

function row([id, model]: [string, Model]): string {
  const cells = [
    `\`${id}\`${id === DEFAULT_MODEL ? ' (default)' : ''}`,
    tokens(model.context),
    tokens(model.maxOutput),
    tokens(model.answer),
    model.effort === undefined ? 'no' : `up to ${model.effort}`,
    thinking(model),
    yes(model.compacts),
    yes(model.files),
  ];
  return `| ${cells.join(' | ')} |`;
}

describe('what is known of models', () => {
  test('is what docs/reference/models.md says, row by row', () => {
    const rows = readFileSync(PAGE, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('| `claude'))
      .map((line) => line.replaceAll(/ +\|/g, ' |'));
    expect(rows).toEqual([...MODELS].map(row));
  });

  test('holds the default, and is found with and without the date of an id', () => {
    expect(MODELS.has(DEFAULT_MODEL)).toBe(true);
    expect(modelOf('claude-haiku-4-5-20251001')).toBe(MODELS.get('claude-haiku-4-5'));
    for (const model of MODELS.values()) expect(model.answer).toBeLessThanOrEqual(model.maxOutput);
  });

  test('asks a model that is not known for nothing that it may refuse', () => {
    for (const id of ['claude-opus-9', 'llama-7', 'constructor', 'toString'])
      expect(reasoning(modelOf(id), { effort: 'max', thinking: 'adaptive' })).toEqual({ effort: undefined, thinking: undefined });
    expect(modelOf('claude-opus-9')).toMatchObject({ answer: 32_000, files: true, compacts: false });
    expect(modelOf('llama-7')).toMatchObject({ answer: 8_192, files: false, compacts: false });
  });

  test.each([
    ['claude-sonnet-5-5', 'max', undefined, { effort: 'max', thinking: undefined }],
    ['claude-sonnet-5-5', 'max', 'off', { effort: 'high', thinking: 'between_tools' }],
    ['claude-sonnet-5-5', 'low', 'off', { effort: 'low', thinking: 'between_tools' }],
    ['claude-haiku-5-5', 'medium', 'off', { effort: 'medium', thinking: 'disabled' }],
    ['claude-opus-5-5', 'max', 'off', { effort: 'max', thinking: undefined }],
    ['claude-opus-5-5', 'high', 'adaptive', { effort: 'high', thinking: 'adaptive' }],
    ['claude-opus-4-8', 'high', undefined, { effort: 'high', thinking: undefined }],
    ['claude-opus-4-8', 'high', 'adaptive', { effort: 'high', thinking: 'adaptive' }],
    ['claude-opus-4-8', 'high', 'off', { effort: 'high', thinking: undefined }],
    ['claude-opus-4-5', 'max', 'adaptive', { effort: 'high', thinking: undefined }],
    ['claude-haiku-4-5', 'low', 'off', { effort: undefined, thinking: undefined }],
  ] as const)('%s with effort %s and thinking %s', (id, effort, asked, expected) => {
    expect(reasoning(modelOf(id), { effort, thinking: asked })).toEqual(expected);
  });
});
