import { describe, expect, test } from '@jest/globals';
import { type AdmissionInput, type AwakeSession, admit } from './admission.ts';

const awake = (session: string, agent: string, rest: Partial<AwakeSession> = {}): AwakeSession => ({
  session,
  agent,
  leaving: false,
  idleSince: undefined,
  ...rest,
});
const queued = (session: string, agent: string) => ({ session, agent });
const decide = (input: Partial<AdmissionInput>) => admit({ awake: [], queue: [], maxPerShard: 100, maxPerAgent: () => 20, ...input });

describe('admission', () => {
  test('with room, whoever asks is woken in the order of arrival', () => {
    expect(decide({ queue: [queued('a1', 'a'), queued('a2', 'a')] })).toEqual({ wake: ['a1', 'a2'], sleep: [], waiting: [] });
  });

  test('nobody asks, nothing happens, also when the shard is over its limit', () => {
    expect(decide({ awake: [awake('x', 'a', { idleSince: 1 })], maxPerShard: 0 })).toEqual({ wake: [], sleep: [], waiting: [] });
  });

  test('an agent at its limit waits for itself alone', () => {
    const input = { awake: [awake('a1', 'a')], queue: [queued('a2', 'a'), queued('b1', 'b')], maxPerAgent: () => 1 };
    expect(decide(input)).toEqual({ wake: ['b1'], sleep: [], waiting: [{ session: 'a2', because: 'AgentLimit' }] });
  });

  test('the agent with the fewest awake is next, however long the line of another', () => {
    const line = Array.from({ length: 50 }, (_, i) => queued(`a${i}`, 'a'));
    const { wake } = decide({ awake: [awake('a', 'a')], queue: [...line, queued('b1', 'b')], maxPerShard: 2 });
    expect(wake).toEqual(['b1']);
  });

  test('two agents with long lines share the places evenly', () => {
    const queue = [
      ...Array.from({ length: 9 }, (_, i) => queued(`a${i}`, 'a')),
      ...Array.from({ length: 9 }, (_, i) => queued(`b${i}`, 'b')),
    ];
    const { wake, waiting } = decide({ queue, maxPerShard: 6 });
    expect(wake).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2']);
    expect(waiting.slice(0, 2).map(({ session }) => session)).toEqual(['a3', 'b3']);
  });

  test('a full shard puts its longest idle session to sleep for whoever waits', () => {
    const input = {
      awake: [awake('busy', 'a'), awake('idle-new', 'a', { idleSince: 20 }), awake('idle-old', 'b', { idleSince: 10 })],
      queue: [queued('c1', 'c')],
      maxPerShard: 3,
    };
    expect(decide(input)).toEqual({ wake: [], sleep: ['idle-old'], waiting: [{ session: 'c1', because: 'ShardLimit' }] });
  });

  test('for an agent at its own limit only one of its own sessions helps', () => {
    const input = {
      awake: [awake('other', 'b', { idleSince: 1 }), awake('own', 'a', { idleSince: 9 })],
      queue: [queued('a2', 'a')],
      maxPerAgent: () => 1,
    };
    expect(decide(input).sleep).toEqual(['own']);
  });

  test('one that leaves already makes room: no second one is sent to sleep for the same guest', () => {
    const input = {
      awake: [awake('leaving', 'a', { leaving: true }), awake('idle', 'a', { idleSince: 1 })],
      queue: [queued('b1', 'b')],
      maxPerShard: 2,
    };
    expect(decide(input).sleep).toEqual([]);
  });

  test('a busy session is never put to sleep for another', () => {
    const { wake, sleep } = decide({ awake: [awake('busy', 'a')], queue: [queued('b1', 'b')], maxPerShard: 1 });
    expect([wake, sleep]).toEqual([[], []]);
  });
});
