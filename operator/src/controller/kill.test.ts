import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { EmbeddedStore } from '../kube/embedded/embedded-store.ts';
import { agentGroups, pods, sessions } from '../kube/resource-types.ts';
import { systemClock } from '../lib/clock.ts';
import { noCrash } from '../lib/crash-point.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { NETWORK_DEFAULTS, WORKERS_DEFAULT } from './config.ts';
import { localRuntime } from './session/runtime.ts';
import { startController } from './start.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'controller-kill-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const deps = { clock: systemClock, random: systemRandom, log: silentLog };
const open = () => new EmbeddedStore({ path: join(dir, 'store.db'), namespace: 'doves', ...deps });
const config = {
  shards: ['0'],
  runtime: localRuntime({ attach: '127.0.0.1:1', proxy: 'http://127.0.0.1:2' }),
  network: NETWORK_DEFAULTS,
  workers: WORKERS_DEFAULT,
  identity: 'successor',
};
const leaseTimes = { leaseMs: 1_000, renewDeadlineMs: 600, retryMs: 100 };

/** A controller in a process of its own, on the same store, that kills itself at `point`; whose kubelet is one line long. */
const victim = (point: string): string => {
  const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  return `
    import { Registry } from 'prom-client';
    import { EmbeddedStore } from ${url('../kube/embedded/embedded-store.ts')};
    import { pods } from ${url('../kube/resource-types.ts')};
    import { systemClock as clock } from ${url('../lib/clock.ts')};
    import { crashAt } from ${url('../lib/crash-point.ts')};
    import { silentLog as log } from ${url('../lib/log.ts')};
    import { systemRandom as random } from ${url('../lib/random.ts')};
    import { startController } from ${url('./start.ts')};
    const store = new EmbeddedStore({ path: ${JSON.stringify(join(dir, 'store.db'))}, namespace: 'doves', clock, random, log });
    startController({ store, config: ${JSON.stringify({ ...config, identity: 'victim' })}, clock, random, log, registry: new Registry(),
      reached: crashAt(${JSON.stringify(point)}), leaseTimes: ${JSON.stringify(leaseTimes)} });
    setInterval(async () => {
      if (await store.get(pods, 's')) await store.applyStatus(pods, 's', ${JSON.stringify(running())}, { fieldManager: 'kubelet' });
    }, 20);
  `;
};
const running = () => ({
  phase: 'Running',
  containerStatuses: [
    { name: 'runner', image: 'x', imageID: '', ready: true, restartCount: 0, state: { running: { startedAt: '2026-01-01T00:00:00Z' } } },
  ],
});

describe('a controller that is killed', () => {
  test.each([
    { point: 'controller/before-pod', podBefore: false },
    { point: 'controller/after-pod-before-status', podBefore: true },
  ])('at $point leaves a session that its successor brings to its end: one Pod, Awake', async ({ point, podBefore }) => {
    const before = open();
    const agent = await before.apply(
      agentGroups,
      { metadata: { name: 'helper' }, spec: { provider: { type: 'demo' } } },
      { fieldManager: 'test' },
    );
    const spec = { agentGroupRef: 'helper', agentGroupUid: agent.metadata.uid, shard: '0', scope: '*', awake: true };
    await before.create(sessions, { metadata: { name: 's' }, spec }, { fieldManager: 'dovecote-delivery' });
    await before.close();

    const script = join(dir, 'victim.mjs');
    // Beside this file, so that packages are found.
    writeFileSync(script, victim(point).replace("'prom-client'", JSON.stringify(import.meta.resolve('prom-client'))));
    const child = spawn(process.execPath, [script], { stdio: 'inherit' });
    const signal = await new Promise((resolve) => child.once('exit', (_code, by) => resolve(by)));
    expect(signal).toBe('SIGKILL'); // anything else: it failed before it came to the point

    const store = open();
    const left = await store.get(pods, 's');
    expect(left !== undefined).toBe(podBefore);
    expect((await store.get(sessions, 's'))?.status).toBeUndefined();
    const controller = startController({ ...deps, store, config, registry: new Registry(), reached: noCrash, leaseTimes });
    try {
      const made = new Set<string>();
      for (let awake = false; !awake; ) {
        const pod = await store.get(pods, 's');
        if (pod !== undefined) {
          made.add(pod.metadata.uid);
          await store.applyStatus(pods, 's', running(), { fieldManager: 'kubelet' });
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
        awake = (await store.get(sessions, 's'))?.status?.phase === 'Awake';
      }
      expect([...made]).toEqual(podBefore ? [left?.metadata.uid] : [expect.any(String)]);
    } finally {
      await controller.close();
      await store.close();
    }
  });
});
