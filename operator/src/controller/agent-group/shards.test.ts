import { describe, expect, test } from '@jest/globals';
import { assignShards, type ShardQuestion } from './shards.ts';

const base: ShardQuestion = { count: 1, assigned: [], ofSessions: [], available: ['0', '1', '2'], load: new Map() };
const load = (...counts: number[]) => new Map(counts.map((count, shard) => [String(shard), count]));

describe('assignShards()', () => {
  const cases: readonly { name: string; given: Partial<ShardQuestion>; want: readonly string[] }[] = [
    { name: 'gives the first of equal ones', given: {}, want: ['0'] },
    { name: 'gives the one with the fewest agents', given: { load: load(2, 1, 3) }, want: ['1'] },
    { name: 'gives as many as asked for, the emptiest first', given: { count: 2, load: load(2, 1, 0) }, want: ['2', '1'] },
    { name: 'keeps what was given, whatever the load is now', given: { assigned: ['2'], load: load(0, 0, 9) }, want: ['2'] },
    {
      name: 'keeps the home shard first when more are asked for',
      given: { assigned: ['2'], count: 2, load: load(1, 0, 0) },
      want: ['2', '1'],
    },
    { name: 'takes nothing away when fewer are asked for', given: { assigned: ['2', '0'], count: 1 }, want: ['2', '0'] },
    { name: 'keeps a shard that is not among those that exist: its conversations are on it', given: { assigned: ['7'] }, want: ['7'] },
    {
      name: 'goes by its Sessions when the assignment was lost',
      given: { ofSessions: ['10', '2', '10'], load: load(0, 0, 9) },
      want: ['2', '10'],
    },
    {
      name: 'adds the shard of a Session that is on none of its own',
      given: { assigned: ['1'], ofSessions: ['0', '1'] },
      want: ['1', '0'],
    },
    { name: 'gives what there is when there are too few', given: { count: 5 }, want: ['0', '1', '2'] },
    { name: 'gives none when there is none', given: { available: [] }, want: [] },
    { name: 'sorts by number', given: { available: ['10', '9'], count: 2 }, want: ['9', '10'] },
  ];
  test.each(cases)('$name', ({ given, want }) => expect(assignShards({ ...base, ...given })).toEqual(want));
});
