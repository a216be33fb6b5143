import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { leases, sessions } from '../kube/resource-types.ts';
import { noCrash } from '../lib/crash-point.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { LEASE, type RunningController, startController } from './start.ts';
import { CountingStore } from './testing/counting-store.ts';
import { TestBench, told } from './testing/test-bench.ts';

let bench: TestBench;
beforeEach(() => {
  bench = new TestBench();
});
afterEach(() => bench.close());

const second = (): { controller: RunningController; store: CountingStore } => {
  const store = new CountingStore(bench.store);
  const controller = startController({
    store,
    config: { ...bench.config, identity: 'controller-2' },
    clock: bench.clock,
    random: systemRandom,
    log: silentLog,
    registry: new Registry(),
    reached: noCrash,
  });
  return { controller, store };
};

describe('startController()', () => {
  test('is ready once it has seen everything, and leads by a Lease', async () => {
    const controller = await bench.start();
    expect(controller.ready()).toEqual([]);
    expect(controller.leads()).toBe(true);
    expect((await bench.store.get(leases, LEASE))?.spec?.holderIdentity).toBe('controller-1');
  });

  test('says what it has not seen yet', () => {
    const { controller } = second();
    expect(controller.ready()).toContain('the list of sessions has not been read yet');
    return Promise.all([controller.close(), bench.advance(10_000)]);
  });

  test('beside one that leads is ready and writes nothing', async () => {
    await bench.start();
    const idle = second();
    const agent = await bench.agentGroup('helper');
    const name = await bench.session(agent, { awake: true });
    await bench.advance(60_000);
    expect(idle.controller.ready()).toEqual([]);
    expect(idle.controller.leads()).toBe(false);
    expect(idle.store.takeWrites()).toEqual([]);
    expect(await bench.pod(name)).toBeDefined();
    await Promise.all([idle.controller.close(), bench.advance(10_000)]);
  });

  test('takes over from one that is closed, which does nothing from then on', async () => {
    await bench.start();
    const next = second();
    await bench.advance(5_000);
    const closing = bench.controller?.close();
    await bench.advance(1_000);
    await closing;
    bench.counting.takeWrites();
    await bench.advance(10_000);
    expect(next.controller.leads()).toBe(true);
    const agent = await bench.agentGroup('helper');
    const name = await bench.session(agent, { awake: true });
    await bench.advance();
    expect(next.store.takeWrites()).toEqual(expect.arrayContaining(['create Pod']));
    expect(bench.counting.takeWrites()).toEqual([]);
    expect(await bench.pod(name)).toBeDefined();
    await Promise.all([next.controller.close(), bench.advance(10_000)]);
  });

  test('stops acting when another has taken its Lease', async () => {
    await bench.start();
    const agent = await bench.agentGroup('helper');
    await bench.advance();
    await bench.store.patch(
      leases,
      LEASE,
      { spec: { holderIdentity: 'a-usurper', renewTime: '2026-01-01T12:00:00.000000Z' } },
      { fieldManager: 'x' },
    );
    await bench.advance(3_000);
    expect(bench.controller?.leads()).toBe(false);
    bench.counting.takeWrites();
    await bench.session(agent, { awake: true });
    await bench.advance(5_000);
    expect(bench.counting.takeWrites()).toEqual([]);
  });

  test('killed between the Pod and the status, its successor writes the status and makes no second Pod', async () => {
    const died = new Error('killed here');
    let armed = true;
    await bench.start((point) => {
      if (armed && point === 'controller/after-pod-before-status') throw died;
    });
    const agent = await bench.agentGroup('helper');
    await bench.advance();
    const name = await bench.session(agent, { awake: true });
    await bench.advance();
    await bench.runs(name);
    expect((await bench.look(name)).status).toBeUndefined();
    const { uid } = (await bench.mustPod(name)).metadata;
    await bench.stop();
    armed = false;
    await bench.start();
    expect(told(await bench.look(name))).toBe('Ready=True/Awake Active=True/Awake');
    expect((await bench.mustPod(name)).metadata.uid).toBe(uid);
  });

  test('is done with one session that fails for ever without keeping others waiting', async () => {
    await bench.start();
    const agent = await bench.agentGroup('helper');
    await bench.advance();
    for (let i = 0; i < 20; i += 1) bench.counting.failures.push({ what: 'create Pod', error: new Error('no') });
    const bad = await bench.session(agent, { awake: true, scope: 'local/bad' });
    await bench.advance();
    bench.counting.failures.splice(0, 19);
    const good = await bench.session(agent, { awake: true, scope: 'local/good' });
    bench.counting.failures.splice(0);
    await bench.advance();
    expect(await bench.pod(good)).toBeDefined();
    await bench.advance(5_000);
    expect(await bench.pod(bad)).toBeDefined();
  });

  test('with many sessions asleep writes nothing when it starts', async () => {
    const agent = await bench.agentGroup('helper');
    await bench.start();
    const names = await Promise.all(Array.from({ length: 100 }, (_, i) => bench.session(agent, { scope: `local/${i}` })));
    await bench.advance(20_000);
    expect(told(await bench.look(names[99] ?? ''))).toBe('Ready=True/Asleep Active=False/Asleep');
    await bench.restart();
    await bench.advance(20_000);
    expect(bench.counting.takeWrites()).toEqual([]);
    expect((await bench.store.list(sessions)).items).toHaveLength(100);
  });
});
