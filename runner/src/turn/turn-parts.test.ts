import type { Block, HistoryRow, TurnState } from '@dovecote/proto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { TranscriptMessage } from '../providers/provider.ts';
import { parseAnswer } from './answer-blocks.ts';
import { loopGuard } from './loop-guard.ts';
import { cutPoint, danglingCalls, INTERRUPTED, toMessages } from './transcript.ts';
import { visiblePart } from './visible-part.ts';

describe('an answer', () => {
  test.each([
    ['plain text', 'hello', { plain: 'hello', addressed: [], internal: false }],
    [
      'a block for a destination',
      'a\n<message to="ops">b</message>\nc',
      { plain: 'a\n\nc', addressed: [{ to: 'ops', text: 'b' }], internal: false },
    ],
    ['what is kept back', '<internal>secret</internal>told', { plain: 'told', addressed: [], internal: true }],
    ['only what is kept back', '<internal>secret</internal>', { plain: '', addressed: [], internal: true }],
    ['a block that is never closed', 'a <message to="ops">b', { plain: 'a', addressed: [{ to: 'ops', text: 'b' }], internal: false }],
    ['an internal that is never closed', 'a <internal>b', { plain: 'a', addressed: [], internal: true }],
    [
      'a block inside what is kept back',
      '<internal><message to="ops">b</message></internal>x',
      { plain: 'x', addressed: [], internal: true },
    ],
    ['an empty block', '<message to="ops"> </message>x', { plain: 'x', addressed: [], internal: false }],
    [
      'code that shows a block',
      '```\n<message to="ops">b</message>\n```',
      { plain: '```\n<message to="ops">b</message>\n```', addressed: [], internal: false },
    ],
    [
      'a block after code',
      '```\nx\n```\n<message to="a">b</message>',
      { plain: '```\nx\n```', addressed: [{ to: 'a', text: 'b' }], internal: false },
    ],
  ])('with %s', (_what, text, parsed) => {
    expect(parseAnswer(text)).toEqual(parsed);
  });

  test('never lets what is kept back into the plain text, whatever surrounds it', () => {
    const noise = fc.string({ unit: fc.constantFrom('a', ' ', '\n', '<', '>', '/', '"') });
    fc.assert(
      fc.property(noise, noise, (before, after) => {
        fc.pre(!/<(message|internal)/.test(before));
        expect(parseAnswer(`${before}<internal>SECRET</internal>${after}`).plain).not.toContain('SECRET');
      }),
    );
  });
});

type Row = HistoryRow & { readonly turn_state: TurnState };
let id = 0;
const row = (turn: string, role: HistoryRow['role'], blocks: readonly Block[], state: TurnState = 'done'): Row => ({
  id: ++id,
  turn_id: turn,
  step: 1,
  role,
  content: JSON.stringify(blocks),
  in_seq: null,
  model: null,
  usage: null,
  created_at: 0,
  turn_state: state,
});
const text = (said: string): Block => ({ type: 'text', text: said });
const use = (callId: string): Block => ({ type: 'tool_use', id: callId, name: 'exec', input: {} });
const result = (callId: string): Block => ({ type: 'tool_result', toolUseId: callId, text: 'ok' });

describe('the transcript', () => {
  test('gives a tool call without a result one that says it was interrupted', () => {
    const messages = toMessages(
      [
        row('a', 'user', [text('go')]),
        row('a', 'assistant', [use('1'), use('2')]),
        row('a', 'tool', [result('1')]),
        row('b', 'user', [text('next')]),
      ],
      'b',
    );
    const results = messages.flatMap((m) => m.blocks).filter((b) => b.type === 'tool_result');
    expect(results).toEqual([expect.objectContaining({ toolUseId: '2', text: INTERRUPTED, isError: true }), result('1')]);
    expect(danglingCalls(messages)).toEqual([]);
  });

  test('leaves the calls of the turn that is about to run them', () => {
    const messages = toMessages(
      [row('a', 'user', [text('go')]), row('a', 'assistant', [use('1'), use('2')], 'running'), row('a', 'tool', [result('1')], 'running')],
      'a',
    );
    expect(danglingCalls(messages)).toMatchObject([{ id: '2', index: 1 }]);
  });

  test("keeps people's words of a failed turn, and nothing that the model did in it", () => {
    const messages = toMessages(
      [
        row('a', 'user', [text('go')], 'failed'),
        row('a', 'assistant', [use('bad')], 'failed'),
        row('a', 'tool', [result('bad')], 'failed'),
        row('b', 'user', [text('next')]),
      ],
      'b',
    );
    expect(messages.map((m) => [m.role, m.blocks[0]?.type])).toEqual([
      ['user', 'text'],
      ['assistant', 'text'],
      ['user', 'text'],
    ]);
  });

  test('is cut at the start of a turn, to half, when it no longer fits', () => {
    const rows = ['a', 'b', 'c', 'd'].flatMap((turn) => [
      row(turn, 'user', [text('x'.repeat(100))]),
      row(turn, 'assistant', [text('y'.repeat(100))]),
    ]);
    expect(cutPoint(rows, 10_000)).toBeUndefined();
    const cut = cutPoint(rows, 900);
    expect(rows.find((r) => r.id === cut)).toMatchObject({ turn_id: 'd', role: 'user' });
  });

  test('of one turn that is too long alone is cut between two of its steps, never between a call and its result', () => {
    const steps = Array.from({ length: 10 }, (_, n) => [
      { ...row('a', 'assistant', [text('x'.repeat(50)), { type: 'tool_use', id: `${n}`, name: 'exec', input: {} }]), step: n + 1 },
      { ...row('a', 'tool', [{ type: 'tool_result', toolUseId: `${n}`, text: 'y'.repeat(50) }]), step: n + 1 },
    ]).flat();
    const cut = cutPoint([row('b', 'user', [text('first')]), row('a', 'user', [text('go')]), ...steps], 1_200);
    const at = steps.findIndex((r) => r.id === cut);
    expect(steps[at]?.role).toBe('assistant');
    const left = steps.slice(at).reduce((sum, r) => sum + r.content.length, 0);
    expect(left).toBeLessThanOrEqual(600);
    expect(left).toBeGreaterThan(300);
  });

  test('of one step that is too long alone is left whole', () => {
    expect(cutPoint([row('a', 'user', [text('x'.repeat(1000))])], 100)).toBeUndefined();
  });
});

describe('what people see of an answer that is still being written', () => {
  const whole = 'Dear <b>Ann</b>,<internal>she is <late></internal> a < b.\n<message to="ops">not <here></message>\nBye <3';
  test('never shows what is kept back, goes elsewhere, or half a tag; it only grows, and ends as the answer', () => {
    const seen = Array.from({ length: whole.length + 1 }, (_, end) => visiblePart(whole.slice(0, end)));
    for (const [n, part] of seen.entries()) {
      expect(part).not.toMatch(/late|here|intern|<mess/);
      expect(parseAnswer(whole).plain.startsWith(part)).toBe(true);
      expect(part.length).toBeGreaterThanOrEqual((seen[n - 1]?.length ?? 0) - '<message to="ops"'.length);
    }
    expect(seen.at(-1)).toBe(parseAnswer(whole).plain);
  });
});

describe('the loop guard', () => {
  const said = (words: string, call?: string): TranscriptMessage => ({
    role: 'assistant',
    turn: 'a',
    blocks: [text(words), ...(call === undefined ? [] : [{ type: 'tool_use', id: 'x', name: call, input: { a: 1 } } as const])],
  });
  test('ends a turn at its most steps', () => {
    expect(loopGuard([], 50, 50)).toContain('50 steps');
    expect(loopGuard([], 49, 50)).toBeUndefined();
  });
  test('ends a turn that says the same three times in a row', () => {
    expect(loopGuard([said('a', 'x'), said('a', 'y'), said('a', 'z')], 3, 50)).toContain('repeating');
    expect(loopGuard([said('a', 'x'), said('b', 'y'), said('a', 'z')], 3, 50)).toBeUndefined();
  });
  test('ends a turn that makes the same call five times', () => {
    expect(
      loopGuard(
        Array.from({ length: 5 }, (_, n) => said(`${n}`, 'exec')),
        5,
        50,
      ),
    ).toContain('exec 5 times');
    expect(
      loopGuard(
        Array.from({ length: 4 }, (_, n) => said(`${n}`, 'exec')),
        4,
        50,
      ),
    ).toBeUndefined();
  });
});
