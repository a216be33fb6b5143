import { describe, expect, test } from '@jest/globals';
import { UnreadableError } from '../kube/errors.ts';
import type { InvalidObject, ResourceStore } from '../kube/store.ts';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { reportInvalidObjects } from './invalid-objects.ts';

const invalid = (name: string, message: string): InvalidObject => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: '1',
  error: new Error(message),
});

describe('reportInvalidObjects()', () => {
  test('says once on each object what is wrong with it, and again what is wrong now', async () => {
    const clock = new ManualClock();
    const written: [string, string, string, object][] = [];
    const answers: (Error | undefined)[] = [new Error('the API server does not answer'), new UnreadableError('still unreadable')];
    const store = {
      applyStatus: async (type: { kind: string }, name: string, status: object, { fieldManager }: { fieldManager: string }) => {
        written.push([type.kind, name, fieldManager, status]);
        const answer = answers.shift();
        if (answer !== undefined) throw answer;
        return undefined;
      },
    } as unknown as ResourceStore;
    const none = { invalid: () => [] };
    let objects = [invalid('a', 'spec.model: must be a string')];
    const caches = { agentGroups: { invalid: () => objects }, channels: none, destinations: none, messagingGroups: none, sessions: none };
    const stop = new AbortController();
    const running = reportInvalidObjects({ store, caches, clock, log: silentLog }, stop.signal);
    await clock.advance(0);
    await clock.advance(30_000);
    expect(written).toHaveLength(2);
    await clock.advance(120_000);
    expect(written).toHaveLength(2);
    expect(written[1]).toMatchObject([
      'AgentGroup',
      'a',
      'dovecote-controller-invalid',
      { conditions: [{ type: 'Ready', status: 'False', reason: 'Invalid', message: 'spec.model: must be a string' }] },
    ]);
    objects = [invalid('a', 'spec.provider: must be set')];
    await clock.advance(30_000);
    objects = [];
    await clock.advance(30_000);
    expect(written).toHaveLength(3);
    stop.abort();
    await running;
  });
});
