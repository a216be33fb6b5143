import { expect, test } from '@jest/globals';
import { silentLog } from '../lib/log.ts';
import { ManualClock } from '../lib/manual-clock.ts';
import { systemRandom } from '../lib/random.ts';
import { EmbeddedStore } from './embedded/embedded-store.ts';
import { ConflictError } from './errors.ts';
import { addFinalizer, hasFinalizer, removeFinalizer } from './finalizers.ts';
import { configMaps } from './resource-types.ts';

const by = { fieldManager: 'test' };
const mine = 'dovecote.dev/mine';

test('a finalizer is added once, keeps the object, and lets it go', async () => {
  const store = new EmbeddedStore({ path: ':memory:', namespace: 'test', clock: new ManualClock(), random: systemRandom, log: silentLog });
  const made = await store.create(configMaps, { metadata: { name: 'm', finalizers: ['other.dev/x'] } }, by);
  const held = await addFinalizer(store, configMaps, made, mine, by);
  expect(held?.metadata.finalizers).toEqual(['other.dev/x', mine]);
  if (held === undefined) throw new Error('gone');
  expect(await addFinalizer(store, configMaps, held, mine, by)).toBe(held);

  // Written from a stale read it would take away what another added.
  await expect(addFinalizer(store, configMaps, made, 'dovecote.dev/third', by)).rejects.toBeInstanceOf(ConflictError);

  await store.delete(configMaps, 'm');
  const dying = await store.get(configMaps, 'm');
  if (dying === undefined) throw new Error('gone');
  const released = await removeFinalizer(store, configMaps, dying, mine, by);
  expect(released !== undefined && hasFinalizer(released, mine)).toBe(false);
  if (released === undefined) throw new Error('gone');
  await removeFinalizer(store, configMaps, released, 'other.dev/x', by);
  expect(await store.get(configMaps, 'm')).toBeUndefined();
  expect(await removeFinalizer(store, configMaps, dying, mine, by)).toBeUndefined();
  await store.close();
});
