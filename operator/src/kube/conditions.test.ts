import { describe, expect, test } from '@jest/globals';
import { equalStatus, findCondition, setCondition, transitions } from './conditions.ts';

const at = Date.parse('2026-02-03T04:05:06.789Z');
const ready = { type: 'Ready', status: 'True', reason: 'Accepted', message: 'works', observedGeneration: 1 } as const;

describe('conditions', () => {
  test('a new one is added with the time; others stay where they are', () => {
    const other = { ...ready, type: 'Active', lastTransitionTime: '2026-01-01T00:00:00Z' };
    expect(setCondition([other], ready, at)).toEqual([other, { ...ready, lastTransitionTime: '2026-02-03T04:05:06Z' }]);
  });

  test('the time moves when the status does, and only then', () => {
    const first = setCondition(undefined, ready, at);
    const reworded = setCondition(first, { ...ready, message: 'still works', reason: 'Found', observedGeneration: 2 }, at + 60_000);
    expect(findCondition(reworded, 'Ready')).toMatchObject({ message: 'still works', lastTransitionTime: '2026-02-03T04:05:06Z' });
    const failed = setCondition(reworded, { ...ready, status: 'False' }, at + 60_000);
    expect(findCondition(failed, 'Ready')?.lastTransitionTime).toBe('2026-02-03T04:06:06Z');
  });

  test('nothing is written when nothing changed, in whatever order', () => {
    expect(equalStatus({ a: 1, b: [{ c: 2 }] }, { b: [{ c: 2 }], a: 1, d: undefined })).toBe(true);
    expect(equalStatus({ a: 1 }, { a: 2 })).toBe(false);
    expect(equalStatus({ a: 1 }, {})).toBe(false);
    expect(equalStatus(undefined, {})).toBe(true);
  });

  test('a transition is a new status or a new reason, not a new message', () => {
    const before = setCondition(undefined, ready, at);
    expect(transitions(before, setCondition(before, { ...ready, message: 'x' }, at))).toEqual([]);
    expect(transitions(before, setCondition(before, { ...ready, reason: 'Found' }, at)).length).toBe(1);
    expect(transitions(undefined, before).length).toBe(1);
  });
});
