import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentGroup, Session } from '@dovecote/crds';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { buildPod } from '../../controller/session/pod.ts';
import { localRuntime } from '../../controller/session/runtime.ts';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { type Pod, pods } from '../../kube/resource-types.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { type RunningKubelet, startKubelet } from './start.ts';

const TALKER = new URL('./test-program/talker.mjs', import.meta.url).pathname;
const SYSTEM_PATH = '/usr/local/bin:/usr/bin:/bin';

let dir: string;
let store: EmbeddedStore;
let kubelet: RunningKubelet | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kubelet-'));
  store = openStore();
});
afterEach(async () => {
  await kubelet?.close();
  kubelet = undefined;
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const openStore = () =>
  new EmbeddedStore({ path: join(dir, 'store.db'), namespace: 'doves', clock: systemClock, random: systemRandom, log: silentLog });

const start = async (options: { stopGraceMs?: number; tokenRefreshMs?: number; logBytes?: number } = {}) => {
  kubelet = await startKubelet({
    store,
    dir: join(dir, 'kubelet'),
    program: [process.execPath, TALKER],
    path: SYSTEM_PATH,
    claimRoot: (claim) => (claim === 'data-dovecote-delivery-0' ? join(dir, 'shard') : undefined),
    configMap: async () => undefined,
    mintToken: (pod, audience) => `token of ${pod.metadata.name} for ${audience}`,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    ...options,
  });
  return kubelet;
};

const session = (name: string): Session => ({
  apiVersion: 'dovecote.dev/v1alpha1',
  kind: 'Session',
  metadata: {
    name,
    namespace: 'doves',
    uid: `uid-of-${name}`,
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
  },
  spec: {
    agentGroupRef: 'helper',
    agentGroupUid: 'ag-uid',
    shard: '0',
    scope: '*',
    generation: 1,
    type: 'Chat',
    awake: true,
    suspended: false,
  },
});
const agentGroup = { spec: {}, metadata: { name: 'helper', uid: 'ag-uid' } } as AgentGroup;

const workspace = (name: string) => join(dir, 'shard/cells', name, 'workspace');
const behave = (name: string, behaviour: string) => {
  mkdirSync(workspace(name), { recursive: true });
  writeFileSync(join(workspace(name), 'behaviour'), behaviour);
};
const file = (name: string, of: string) => readFileSync(join(workspace(name), of), 'utf8');
const starts = (name: string) => (existsSync(join(workspace(name), 'starts')) ? file(name, 'starts').trim().split('\n') : []);

/** The Pod as the controller makes it, but without an owner: there is no Session in the store. */
const createPod = async (name: string) => {
  const { metadata, spec } = buildPod(
    session(name),
    agentGroup,
    localRuntime({ attach: '127.0.0.1:7070', proxy: 'http://127.0.0.1:8080' }),
    0,
  );
  const { ownerReferences: _, ...rest } = metadata;
  return store.create(pods, { metadata: rest, spec }, { fieldManager: 'test' });
};

const eventually = async <T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> => {
  for (const deadline = Date.now() + 45_000; Date.now() < deadline; ) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`waited in vain: ${what}`);
};
const container = (pod: Pod | undefined) => pod?.status?.containerStatuses?.[0];
const running = (name: string) =>
  eventually(`${name} runs`, async () => {
    const pod = await store.get(pods, name);
    return container(pod)?.state?.running !== undefined && existsSync(join(workspace(name), 'ready')) ? pod : undefined;
  });
const gone = (name: string) => eventually(`${name} is gone`, async () => ((await store.get(pods, name)) === undefined ? true : undefined));
const alive = (pid: string | number) => {
  try {
    process.kill(Number(pid), 0);
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

describe('startKubelet()', () => {
  test('runs a Pod as a process that sees its mounts under their paths on this machine', async () => {
    await start();
    await createPod('a');
    const pod = await running('a');
    expect(pod.status).toMatchObject({ phase: 'Running', podIP: '127.0.0.1' });
    const { values, token } = JSON.parse(file('a', 'report.json'));
    expect(values).toMatchObject({
      session: 'a',
      in: join(dir, 'shard/cells/a/in'),
      out: join(dir, 'shard/cells/a/out'),
      workspace: workspace('a'),
      home: join(dir, 'shard/agents/ag-uid/home'),
      attach: '127.0.0.1:7070',
      listen: '127.0.0.1:0',
    });
    expect(token).toBe('token of a for dovecote-delivery');
    expect(readFileSync(values['proxy-token'], 'utf8')).toBe('token of a for dovecote-proxy');
    expect(statSync(values.token).mode & 0o777).toBe(0o600);
  });

  test('lets nothing of its own environment reach a child', async () => {
    process.env['ANTHROPIC_API_KEY'] = 'sk-should-not-be-seen';
    try {
      await start();
      await createPod('a');
      await running('a');
    } finally {
      delete process.env['ANTHROPIC_API_KEY'];
    }
    const { env } = JSON.parse(file('a', 'report.json'));
    expect(
      Object.keys(env)
        .filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name))
        .sort(),
    ).toEqual(['HOME', 'LANG', 'PATH', 'POD_IP', 'TMPDIR']);
    expect(env).toMatchObject({ HOME: workspace('a'), PATH: SYSTEM_PATH, LANG: 'C.UTF-8', POD_IP: '127.0.0.1' });
    expect(existsSync(env.TMPDIR)).toBe(true);
  });

  test('removes a Pod only when its process has ended', async () => {
    await start();
    await createPod('a');
    await running('a');
    const [pid = ''] = starts('a');
    await store.delete(pods, 'a');
    await gone('a');
    expect(alive(pid)).toBe(false);
    expect(file('a', 'signals')).toBe('SIGTERM\n');
    expect(readdirSync(join(dir, 'kubelet/pods'))).toEqual([]);
  });

  test('kills a process that is deaf to SIGTERM, with its whole group, once the grace period is over', async () => {
    behave('a', 'deaf');
    await start();
    await createPod('a');
    await running('a');
    const [pid = ''] = starts('a');
    await store.delete(pods, 'a', { gracePeriodSeconds: 1 });
    await gone('a');
    expect(file('a', 'signals')).toBe('SIGTERM\n');
    expect(alive(pid)).toBe(false);
  });

  test('ends what a runner left running', async () => {
    behave('a', 'parent');
    await start();
    await createPod('a');
    await running('a');
    const grandchild = file('a', 'grandchild');
    expect(alive(grandchild)).toBe(true);
    await store.delete(pods, 'a');
    await gone('a');
    await eventually('the grandchild is gone', () => !alive(grandchild));
  });

  test('starts a process that was killed again at once and says how it ended', async () => {
    await start();
    await createPod('a');
    await running('a');
    const [first = ''] = starts('a');
    rmSync(join(workspace('a'), 'ready'));
    process.kill(Number(first), 'SIGKILL');
    const pod = await eventually('it runs again', async () => {
      const found = await running('a');
      return container(found)?.restartCount === 1 ? found : undefined;
    });
    expect(container(pod)?.lastState?.terminated).toMatchObject({ exitCode: 137, reason: 'Error' });
    expect(starts('a')).toHaveLength(2);
  });

  test('backs off a process that falls each time, with its last words in the status', async () => {
    behave('a', 'exit 78');
    await start();
    await createPod('a');
    const pod = await eventually('it waits', async () => {
      const found = await store.get(pods, 'a');
      return container(found)?.state?.waiting?.reason === 'CrashLoopBackOff' ? found : undefined;
    });
    expect(pod.status?.phase).toBe('Running');
    expect(container(pod)).toMatchObject({
      ready: false,
      restartCount: 1,
      state: { waiting: { message: 'back-off 1s restarting failed container' } },
      lastState: { terminated: { exitCode: 78, reason: 'Error', message: 'first line\nlast words' } },
    });
    expect(readFileSync(join(dir, 'kubelet/logs/a.log'), 'utf8')).toContain('last words');
  });

  test('leaves a Pod whose process finished as Succeeded', async () => {
    behave('a', 'exit 0');
    await start();
    await createPod('a');
    const pod = await eventually('it is over', async () => {
      const found = await store.get(pods, 'a');
      return found?.status?.phase === 'Succeeded' ? found : undefined;
    });
    expect(container(pod)?.state?.terminated).toMatchObject({ exitCode: 0, reason: 'Completed' });
    await store.delete(pods, 'a');
    await gone('a');
    expect(starts('a')).toHaveLength(1);
  });

  test('says why a Pod cannot be started, and starts it once it can', async () => {
    rmSync(join(dir, 'shard'), { recursive: true, force: true });
    writeFileSync(join(dir, 'shard'), 'a file where a folder must be');
    await start();
    await createPod('a');
    const pod = await eventually('it waits', async () => {
      const found = await store.get(pods, 'a');
      return container(found)?.state?.waiting === undefined ? undefined : found;
    });
    expect(container(pod)?.state?.waiting).toMatchObject({ reason: 'CreateContainerError' });
    expect(pod.status?.phase).toBe('Pending');
    rmSync(join(dir, 'shard'));
    await running('a');
  });

  test('ends its children when it is closed, keeps the Pods, and runs them again at the next start', async () => {
    const first = await start();
    await createPod('a');
    await running('a');
    const [pid = ''] = starts('a');
    await first.close();
    expect(alive(pid)).toBe(false);
    expect((await store.get(pods, 'a'))?.metadata.deletionTimestamp).toBeUndefined();
    rmSync(join(workspace('a'), 'ready'));
    await start();
    const pod = await eventually('it runs again', async () => {
      const found = await running('a');
      return starts('a').length === 2 && container(found)?.restartCount === 1 ? found : undefined;
    });
    expect(container(pod)?.lastState).toBeUndefined();
  });

  test('removes a Pod that was deleted while it was away', async () => {
    const first = await start();
    await createPod('a');
    await running('a');
    await first.close();
    await store.delete(pods, 'a');
    await start();
    await gone('a');
    expect(starts('a')).toHaveLength(1);
  });

  test('waits with the next Pod of a name until the process of a Pod removed by force has ended', async () => {
    await start();
    await createPod('a');
    await running('a');
    const [first = ''] = starts('a');
    await store.delete(pods, 'a', { gracePeriodSeconds: 0 });
    await createPod('a');
    await eventually('the second runs', () => starts('a').length === 2);
    expect(alive(first)).toBe(false);
  });

  test('writes tokens anew while the child runs', async () => {
    await start({ tokenRefreshMs: 20 });
    await createPod('a');
    await running('a');
    const { token } = JSON.parse(file('a', 'report.json')).values;
    rmSync(token);
    await eventually('the token is there again', () => existsSync(token));
  });
});

describe('after the whole process was killed', () => {
  test('startKubelet() ends the children of the run before it starts others', async () => {
    behave('a', 'run');
    await createPod('a');
    await store.close();
    // Another process is the kubelet, and is killed without a chance to say goodbye.
    const script = join(dir, 'host.mjs');
    const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    writeFileSync(
      script,
      `
      import { EmbeddedStore } from ${url('../../kube/embedded/embedded-store.ts')};
      import { startKubelet } from ${url('./start.ts')};
      import { systemClock as clock } from ${url('../../lib/clock.ts')};
      import { silentLog as log } from ${url('../../lib/log.ts')};
      import { systemRandom as random } from ${url('../../lib/random.ts')};
      const store = new EmbeddedStore({ path: ${JSON.stringify(join(dir, 'store.db'))}, namespace: 'doves', clock, random, log });
      await startKubelet({ store, dir: ${JSON.stringify(join(dir, 'kubelet'))}, program: [process.execPath, ${JSON.stringify(TALKER)}],
        path: '${SYSTEM_PATH}', claimRoot: () => ${JSON.stringify(join(dir, 'shard'))}, mintToken: () => 'x', clock, random, log });
      `,
    );
    const host = spawn(process.execPath, ['--experimental-strip-types', script], { stdio: 'inherit' });
    await eventually('the child of the other process runs', () => existsSync(join(workspace('a'), 'ready')));
    const [orphan = ''] = starts('a');
    const exited = new Promise((resolve) => host.once('exit', resolve));
    host.kill('SIGKILL');
    await exited;
    expect(alive(orphan)).toBe(true);

    store = openStore();
    await start();
    expect(alive(orphan)).toBe(false);
    expect(file('a', 'signals')).toBe('SIGTERM\n');
    await eventually('it runs again', () => starts('a').length === 2);
  });

  test('startKubelet() kills an orphan that does not end by itself', async () => {
    behave('a', 'deaf');
    await createPod('a');
    const pod = await store.get(pods, 'a');
    const podDir = join(dir, 'kubelet/pods', pod?.metadata.uid ?? '');
    mkdirSync(podDir, { recursive: true });
    mkdirSync(workspace('a'), { recursive: true });
    writeFileSync(join(dir, 'token'), 'x');
    const deaf = spawn(process.execPath, [TALKER, '--workspace', workspace('a'), '--token', join(dir, 'token')], {
      detached: true,
      stdio: 'ignore',
    });
    await eventually('it is deaf', () => existsSync(join(workspace('a'), 'ready')));
    const pid = deaf.pid ?? 0;
    writeFileSync(
      join(podDir, 'process'),
      `${pid}\n${readFileSync(`/proc/${pid}/stat`, 'utf8')}${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')}`,
    );
    await start({ stopGraceMs: 50 });
    expect(alive(pid)).toBe(false);
  });

  test('startKubelet() leaves a process alone that has the number of an earlier child by chance', async () => {
    const stranger = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
    try {
      const podDir = join(dir, 'kubelet/pods/some-uid');
      mkdirSync(podDir, { recursive: true });
      const stat = readFileSync(`/proc/${stranger.pid}/stat`, 'utf8').split(' ');
      stat[21] = '1'; // began at another time
      writeFileSync(
        join(podDir, 'process'),
        `${stranger.pid}\n${stat.join(' ')}${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')}`,
      );
      await start();
      expect(alive(stranger.pid ?? 0)).toBe(true);
    } finally {
      stranger.kill('SIGKILL');
    }
  });
});
