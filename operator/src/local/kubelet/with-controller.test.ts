import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentGroup, Session } from '@dovecote/crds';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Registry } from 'prom-client';
import { NETWORK_DEFAULTS, WORKERS_DEFAULT } from '../../controller/config.ts';
import { localRuntime } from '../../controller/session/runtime.ts';
import { type RunningController, startController } from '../../controller/start.ts';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { agentGroups, pods, sessions } from '../../kube/resource-types.ts';
import { systemClock } from '../../lib/clock.ts';
import { noCrash } from '../../lib/crash-point.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { type RunningKubelet, startKubelet } from './start.ts';

const TALKER = new URL('./test-program/talker.mjs', import.meta.url).pathname;

let dir: string;
let store: EmbeddedStore;
let controller: RunningController;
let kubelet: RunningKubelet;
let agent: AgentGroup;

const deps = { clock: systemClock, random: systemRandom, log: silentLog };

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'local-'));
  store = new EmbeddedStore({ path: join(dir, 'store.db'), namespace: 'doves', ...deps });
  kubelet = await startKubelet({
    ...deps,
    store,
    dir: join(dir, 'kubelet'),
    program: [process.execPath, TALKER],
    path: '/usr/local/bin:/usr/bin:/bin',
    claimRoot: () => join(dir, 'shard'),
    configMap: async () => undefined,
    mintToken: (pod, audience) => `${pod.metadata.name} ${audience}`,
  });
  controller = startController({
    ...deps,
    store,
    config: {
      shards: ['0'],
      runtime: localRuntime({ attach: '127.0.0.1:7070', proxy: 'http://127.0.0.1:8080' }),
      network: NETWORK_DEFAULTS,
      workers: WORKERS_DEFAULT,
      identity: 'local',
    },
    registry: new Registry(),
    reached: noCrash,
  });
  agent = await store.apply(agentGroups, { metadata: { name: 'helper' }, spec: { provider: { type: 'demo' } } }, { fieldManager: 'test' });
});
afterEach(async () => {
  await controller.close();
  await kubelet.close();
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const workspace = (name: string) => join(dir, 'shard/cells', name, 'workspace');
const createSession = (name: string) =>
  store.create(
    sessions,
    { metadata: { name }, spec: { agentGroupRef: 'helper', agentGroupUid: agent.metadata.uid, shard: '0', scope: '*', awake: true } },
    { fieldManager: 'dovecote-delivery' },
  );
const setAwake = (name: string, awake: boolean) => store.patch(sessions, name, { spec: { awake } }, { fieldManager: 'dovecote-delivery' });
const until = async (name: string, what: string, holds: (session: Session) => boolean): Promise<Session> => {
  for (const deadline = Date.now() + 45_000; Date.now() < deadline; ) {
    const session = await store.get(sessions, name);
    if (session !== undefined && holds(session)) return session;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain for ${what}: ${JSON.stringify((await store.get(sessions, name))?.status)}`);
};
/** The process is up, which the kubelet does not wait for before it says that it runs. */
const listens = async (name: string): Promise<void> => {
  for (; !existsSync(join(workspace(name), 'ready')); ) await new Promise((resolve) => setTimeout(resolve, 10));
};
const phase = (wanted: string) => (session: Session) =>
  session.status?.phase === wanted && session.status.observedGeneration === session.metadata.generation;

describe('controller and kubelet together', () => {
  test('wake a session, put it to sleep, and wake it again', async () => {
    await createSession('s');
    await until('s', 'Awake', phase('Awake'));
    await listens('s');
    rmSync(join(workspace('s'), 'ready'));
    await setAwake('s', false);
    const asleep = await until('s', 'Asleep', phase('Asleep'));
    expect(asleep.status).not.toHaveProperty('podUid');
    expect(await store.get(pods, 's')).toBeUndefined();
    expect(readFileSync(join(workspace('s'), 'signals'), 'utf8')).toBe('SIGTERM\n');
    await setAwake('s', true);
    await until('s', 'Awake', phase('Awake'));
    await listens('s');
    expect(
      readFileSync(join(workspace('s'), 'starts'), 'utf8')
        .trim()
        .split('\n'),
    ).toHaveLength(2);
  });

  test('tell why a runner refuses to run', async () => {
    mkdirSync(workspace('s'), { recursive: true });
    writeFileSync(join(workspace('s'), 'behaviour'), 'exit 78');
    await createSession('s');
    const failed = await until('s', 'Failed', phase('Failed'));
    expect(failed.status?.conditions?.[0]).toMatchObject({
      type: 'Ready',
      status: 'False',
      reason: 'RunnerRefused',
      message: expect.stringContaining('The runner refuses its configuration or the version of its files: last words. Change spec.image'),
    });
    expect(failed.status?.lastExit).toMatchObject({ reason: 'RunnerRefused', exitCode: 78 });
    for (const deadline = Date.now() + 45_000; (await store.get(pods, 's')) !== undefined && Date.now() < deadline; )
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await store.get(pods, 's')).toBeUndefined(); // and its runner is not started for ever
  });

  test('bring a runner back that was killed, and count it', async () => {
    await createSession('s');
    await until('s', 'Awake', phase('Awake'));
    await listens('s');
    process.kill(Number(readFileSync(join(workspace('s'), 'starts'), 'utf8')), 'SIGKILL');
    const back = await until('s', 'a restart', ({ status }) => status?.restarts === 1);
    expect(back.status).toMatchObject({ phase: 'Awake', lastExit: { reason: 'Killed', exitCode: 137 } });
  });

  test('end everything of an AgentGroup that is deleted', async () => {
    await store.create(
      sessions,
      {
        metadata: {
          name: 's',
          ownerReferences: [
            { apiVersion: agent.apiVersion, kind: 'AgentGroup', name: 'helper', uid: agent.metadata.uid, controller: true },
          ],
        },
        spec: { agentGroupRef: 'helper', agentGroupUid: agent.metadata.uid, shard: '0', scope: '*', awake: true },
      },
      { fieldManager: 'dovecote-delivery' },
    );
    await until('s', 'Awake', phase('Awake'));
    await listens('s');
    await store.delete(agentGroups, 'helper');
    for (let there = true; there; ) {
      there = (await store.get(pods, 's')) !== undefined || (await store.get(sessions, 's')) !== undefined;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(readFileSync(join(workspace('s'), 'signals'), 'utf8')).toBe('SIGTERM\n');
  });
});
