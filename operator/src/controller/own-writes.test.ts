import { beforeEach, describe, expect, test } from '@jest/globals';
import { ResourceCache } from '../kube/resource-cache.ts';
import type { KubeObject } from '../kube/store.ts';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { OwnWrites } from './own-writes.ts';

const object = (version: number, uid = 'u'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', namespace: 'doves', uid, resourceVersion: String(version), creationTimestamp: '2026-01-01T00:00:00Z' },
});

describe('OwnWrites', () => {
  let clock: ManualClock;
  let cache: ResourceCache<KubeObject>;
  let own: OwnWrites<KubeObject>;
  beforeEach(() => {
    clock = new ManualClock();
    cache = new ResourceCache<KubeObject>({ log: silentLog, clock });
    own = new OwnWrites(cache, clock);
  });
  const seen = () => own.get('a')?.metadata.resourceVersion;

  test('shows what we wrote until the cache is as new', () => {
    cache.apply({ type: 'ADDED', object: object(9) });
    own.note(object(11));
    expect(seen()).toBe('11');
    cache.apply({ type: 'MODIFIED', object: object(10) });
    expect(seen()).toBe('11');
    cache.apply({ type: 'MODIFIED', object: object(12) });
    expect(seen()).toBe('12');
  });

  test('shows what we made before the cache does, and no longer once it is gone', () => {
    own.note(object(5));
    expect(seen()).toBe('5');
    cache.apply({ type: 'ADDED', object: object(5) });
    cache.apply({ type: 'DELETED', object: object(6) });
    expect(seen()).toBeUndefined();
  });

  test('believes the cache about another object of the name', () => {
    own.note(object(5));
    cache.apply({ type: 'ADDED', object: object(4, 'another') });
    expect(seen()).toBe('4');
  });

  test('believes the cache after a while, whatever it missed', async () => {
    own.note(object(5));
    await clock.advance(10_001);
    expect(seen()).toBeUndefined();
  });
});
