import type { AgentGroup, Session } from '@dovecote/crds';
import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../../lib/clock.ts';
import { WaitingError } from '../../lib/errors.ts';
import { shardOf } from '../../lib/rendezvous.ts';
import { sessionName } from '../../lib/session-name.ts';
import { agentGroup } from '../testing/objects.ts';
import { SessionShards } from './session-shards.ts';

const signal = new AbortController().signal;
const before = agentGroup('helper', ['0']);
const after = agentGroup('helper', ['0', '1']);
/** A conversation that would be on the further shard, were it new. */
const scope = scopeThatHashesTo(after, '1');

describe('the shard of a conversation', () => {
  test('one that began before its agent got a further shard stays where it is; it is asked for once', async () => {
    const { shards, asked, sessionOn } = start();
    expect(await shards.of(before, scope, signal)).toBe('0');
    expect(asked).toEqual([]);
    sessionOn('0');
    expect(await shards.of(after, scope, signal)).toBe('0');
    expect(await shards.of(after, scope, signal)).toBe('0');
    expect(asked).toEqual([sessionName('helper', after.metadata.uid, scope, 1)]);
  });

  test('one that is new goes by its hash, and is asked for once', async () => {
    const { shards, asked } = start();
    expect(await shards.of(after, scope, signal)).toBe('1');
    expect(await shards.of(after, scope, signal)).toBe('1');
    expect(asked).toHaveLength(1);
  });

  test('as long as nobody says where it is, the event waits', async () => {
    const { shards, sessionOn, fail } = start();
    fail(new Error('the API server is away'));
    await expect(shards.of(after, scope, signal)).rejects.toThrow(WaitingError);
    fail(undefined);
    sessionOn('0');
    expect(await shards.of(after, scope, signal)).toBe('0');
  });
});

function start(): {
  shards: SessionShards;
  asked: string[];
  sessionOn: (shard: string) => void;
  fail: (error: Error | undefined) => void;
} {
  const asked: string[] = [];
  let session: Session | undefined;
  let failure: Error | undefined;
  const shards = new SessionShards({
    clock: systemClock,
    store: {
      get: async (_type, name) => {
        if (failure !== undefined) throw failure;
        asked.push(name);
        return session as never;
      },
    },
  });
  return {
    shards,
    asked,
    sessionOn: (shard) => {
      session = { spec: { shard } } as Session;
    },
    fail: (error) => {
      failure = error;
    },
  };
}

function scopeThatHashesTo(agent: AgentGroup, shard: string): string {
  for (let n = 0; ; n += 1) {
    const candidate = `web/chat-${n}`;
    if (shardOf(agent.status?.shards ?? [], agent.metadata.uid, candidate) === shard) return candidate;
  }
}
