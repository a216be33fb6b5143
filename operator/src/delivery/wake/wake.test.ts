import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attach, cellPaths, INBOUND_DB, openInboundReader, peekOutbound } from '@dovecote/proto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { agentGroups, sessions } from '../../kube/resource-types.ts';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';

let bench: Bench;
afterEach(() => bench.close());

const statuses = (session: string): string[] => {
  const db = openInboundReader(join(cellPaths(bench.root, session).in, INBOUND_DB));
  try {
    return db.prepare('SELECT status FROM messages_in ORDER BY seq').pluck().all() as string[];
  } finally {
    db.close();
  }
};
const texts = (): unknown[] => bench.delivered.map(({ content }) => (JSON.parse(content) as { text: string }).text);

describe('waking', () => {
  test('the Session is made awake in one write, owned by its agent', async () => {
    bench = await createBench({ controller: false });
    const agent = await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e1', thread: 't1' }, { scope: 'web/c1/t1' });
    await until(async () => (await bench.session(session)) !== undefined);
    expect(await bench.session(session)).toMatchObject({
      metadata: { generation: 1, ownerReferences: [{ kind: 'AgentGroup', uid: agent.metadata.uid }] },
      spec: { agentGroupRef: 'helper', shard: '0', scope: 'web/c1/t1', awake: true, channelRef: 'web', chatId: 'c1', thread: 't1' },
    });
  });

  test('a message for an awake session writes nothing to the cluster', async () => {
    bench = await createBench();
    await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e0' });
    await until(() => bench.delivered.length === 1);
    const before = (await bench.session(session))?.metadata.generation;
    for (const n of [1, 2, 3]) await bench.enqueue({ eventId: `e${n}` });
    await until(() => bench.delivered.length === 4);
    expect((await bench.session(session))?.metadata.generation).toBe(before);
  });

  test('a name by its model is on the Session after one write, and every further one after the next sleep', async () => {
    bench = await createBench();
    await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e1', text: 'hello there' });
    await until(() => bench.delivered.length === 1);
    const title = async () => (await bench.session(session))?.spec.title;
    expect(await title()).toBe('hello there');
    const before = (await bench.session(session))?.metadata.generation ?? 0;
    bench.runners.get(session)?.title('Greetings');
    await until(async () => (await title()) === 'Greetings', 'the title');
    for (const n of [1, 2, 3]) {
      bench.runners.get(session)?.title(`Greetings ${n}`);
      await bench.enqueue({ eventId: `more-${n}` });
      await until(() => bench.delivered.length === n + 1);
    }
    expect((await bench.session(session))?.metadata.generation).toBe(before + 1);
    await bench.store.patch(sessions, session, { spec: { suspended: true } }, { fieldManager: 'test' });
    await until(async () => (await bench.session(session))?.spec.awake === false, 'sleep');
    expect(await title()).toBe('Greetings 3');
  });

  test('when the cluster refuses, the row wakes its session later', async () => {
    bench = await createBench();
    await bench.agent('helper');
    let refusals = 2;
    const create = bench.store.create.bind(bench.store);
    bench.store.create = ((type, object, options) => {
      if (type.kind === 'Session' && refusals > 0) {
        refusals -= 1;
        return Promise.reject(new Error('the API server is away'));
      }
      return create(type, object, options);
    }) as typeof bench.store.create;
    await bench.enqueue({ eventId: 'e1', text: 'patience' });
    await until(() => bench.delivered.length === 1, 'the answer');
    expect(texts()).toEqual(['echo patience']);
  });

  test('over the limit of its agent a chat waits, is told once, and goes on when another is idle', async () => {
    bench = await createBench();
    await bench.agent('helper', { limits: { maxAwake: 1 } });
    // The first never says that it is idle.
    const busy = await bench.enqueue({ eventId: 'e1', chat: 'c1' }, { trigger: false });
    bench.manual.add(busy.session);
    await bench.enqueue({ eventId: 'e2', chat: 'c1' });
    await until(async () => (await bench.session(busy.session))?.spec.awake === true);
    await bench.store.applyStatus(sessions, busy.session, { phase: 'Awake', podUid: 'p' }, { fieldManager: 'scripted-controller' });
    const waiting = await bench.enqueue({ eventId: 'e3', chat: 'c2', text: 'me too' });
    await until(() => bench.delivered.some(({ chat, content }) => chat === 'c2' && content.includes('All places are taken')), 'the notice');
    expect((await bench.session(waiting.session))?.spec.awake ?? false).toBe(false);
    const runner = bench.runner(busy.session, () => undefined);
    runner.work();
    bench.manual.delete(busy.session);
    await until(() => texts().includes('echo me too'), 'the answer of the one that waited');
    expect(bench.delivered.filter(({ content }) => content.includes('All places')).length).toBe(1);
    expect((await bench.session(busy.session))?.spec.awake).toBe(false);
  });
});

describe('a Pod that cannot be had', () => {
  test.each([
    ['CredentialsMissing', 'has no key for its model'],
    ['RunnerRefused', 'the program of this agent refuses to start'],
  ])('because of %s is told to whoever waits, once, however often it is tried', async (reason, sentence) => {
    bench = await createBench({ controller: false });
    await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(async () => (await bench.session(session))?.spec.awake === true);
    const says = async (message: string): Promise<void> => {
      const ready = { type: 'Ready', status: 'False' as const, reason, message, lastTransitionTime: '2026-01-01T00:00:00Z' };
      const written = { phase: 'Failed' as const, conditions: [ready] };
      await bench.store.applyStatus(sessions, session, written, { fieldManager: 'scripted-controller' });
    };
    await says('tried at noon');
    await until(() => bench.delivered.length === 1, 'the notice');
    expect(texts()).toEqual([expect.stringContaining(sentence)]);
    await says('tried at one');
    bench.runner(session);
    await until(() => texts().some((text) => String(text).startsWith('echo')), 'the answer');
    expect(bench.delivered).toHaveLength(2);
  });
});

describe('sleeping', () => {
  test('a session that is idle drains, sleeps, and answers the next message', async () => {
    bench = await createBench();
    await bench.agent('helper', { idleTimeout: '1s' });
    const { session } = await bench.enqueue({ eventId: 'e1', text: 'one' });
    await until(() => bench.delivered.length === 1);
    await until(async () => (await bench.session(session))?.spec.awake === false, 'sleep');
    await until(async () => (await bench.session(session))?.status?.phase === 'Asleep');
    await bench.enqueue({ eventId: 'e2', text: 'two' });
    await until(() => bench.delivered.length === 2, 'the answer after the sleep');
    expect(texts()).toEqual(['echo one', 'echo two']);
  });

  test('one with a background job stays awake as long as its agent may have it, and sleeps when the job has ended', async () => {
    bench = await createBench();
    await bench.agent('patient', { idleTimeout: '3s' });
    await bench.agent('strict', { idleTimeout: '1s', limits: { jobTime: '0s' } });
    const works = (session: string, hours: number): void =>
      bench.runners.get(session)?.progress(attach.Progress_Phase.IDLE, '', '', hours === 0 ? 0 : Date.now() + hours * 3_600_000);
    const awake = async (session: string) => (await bench.session(session))?.spec.awake;
    const { session: first } = await bench.enqueue({ eventId: 'e1', chat: 'c1' }, { agentGroup: 'patient' });
    const { session: second } = await bench.enqueue({ eventId: 'e2', chat: 'c2' }, { agentGroup: 'strict' });
    await until(() => bench.delivered.length === 2);
    works(first, 1);
    works(second, 1);
    // Idle from later on, so that whoever has no job to wait for has slept by then.
    const { session: third } = await bench.enqueue({ eventId: 'e3', chat: 'c3' }, { agentGroup: 'patient' });
    await until(async () => (await awake(second)) === false, 'the sleep of the one whose jobs do not count');
    await until(async () => (await awake(third)) === false, 'the sleep of the one without jobs');
    expect(await awake(first)).toBe(true);
    works(first, 0);
    await until(async () => (await awake(first)) === false, 'the sleep of the other');
  });

  test('a message that comes while its session drains is answered by the next runner', async () => {
    bench = await createBench();
    await bench.agent('helper', { idleTimeout: '1s' });
    const { session } = await bench.enqueue({ eventId: 'e1', text: 'one' });
    await until(() => bench.delivered.length === 1);
    const runner = bench.runners.get(session);
    if (runner === undefined) throw new Error('no runner');
    let late: Promise<unknown> | undefined;
    const drained = runner.drained.bind(runner);
    runner.drained = (reason) => {
      late = bench.enqueue({ eventId: 'e2', text: 'late' }).then(() => drained(reason)); // durable before the runner is gone
    };
    await until(() => late !== undefined, 'the drain');
    await late;
    await until(() => bench.delivered.length === 2, 'the answer to the late message');
    expect(texts()).toEqual(['echo one', 'echo late']);
    expect(statuses(session)).toEqual(['done', 'done']);
  });

  test('what the runner wrote in its last moment goes out at once', async () => {
    bench = await createBench();
    await bench.agent('helper', { idleTimeout: '1s' });
    const { session } = await bench.enqueue({ eventId: 'e1', text: 'one' });
    await until(() => bench.delivered.length === 1);
    const runner = bench.runners.get(session);
    if (runner === undefined) throw new Error('no runner');
    let slept = false;
    const drained = runner.drained.bind(runner);
    runner.drained = (reason) => {
      slept = true;
      void bench.enqueue({ eventId: 'e2', text: 'last words' }).then(() => {
        runner.work();
        drained(reason);
      });
    };
    await until(() => slept && bench.delivered.length === 2, 'the last words');
    expect(texts()).toEqual(['echo one', 'echo last words']);
  });

  test('a runner that does not drain is left behind after its deadline', async () => {
    bench = await createBench({ limits: { drainMs: 1 } });
    await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    const runner = bench.runners.get(session);
    if (runner === undefined) throw new Error('no runner');
    runner.drained = () => {};
    await bench.store.patch(sessions, session, { spec: { suspended: true } }, { fieldManager: 'test' });
    await until(async () => (await bench.session(session))?.spec.awake === false, 'sleep');
  });
});

describe('restart', () => {
  test('100 sessions with messages that nobody had time for are all answered, each once', async () => {
    bench = await createBench({ controller: false });
    await bench.agent('helper', { limits: { maxAwake: 200 } });
    const chats = Array.from({ length: 100 }, (_, i) => `c${i}`);
    const answers = await Promise.all(chats.map((chat) => bench.enqueue({ eventId: `e-${chat}`, chat, text: chat })));
    await bench.restart();
    for (const { session } of answers) bench.runner(session);
    await until(() => bench.delivered.length >= 100, 'all answers');
    await until(() => answers.every(({ session }) => statuses(session).every((status) => status === 'done')));
    expect(new Set(texts())).toEqual(new Set(chats.map((chat) => `echo ${chat}`)));
    expect(bench.delivered).toHaveLength(100);
  });

  test('an index that is lost is made anew from the cells: the same scope keeps its session', async () => {
    bench = await createBench({ controller: false });
    await bench.agent('helper');
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await bench.stop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(bench.root, `shard.db${suffix}`), { force: true });
    writeFileSync(join(bench.root, 'shard.db'), 'this was an index once, before the disk went bad'.repeat(100));
    await bench.restart();
    expect((await bench.enqueue({ eventId: 'e1' })).outcome).toBe(2);
    expect((await bench.enqueue({ eventId: 'e2' })).session).toBe(session);
  });
});

describe('projection', () => {
  test('a changed AgentGroup reaches an awake session at once, and costs no commit when nothing changed', async () => {
    bench = await createBench();
    await bench.agent('helper', { instructions: 'be kind' });
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1);
    const ask = (sql: string): unknown => {
      const db = openInboundReader(join(cellPaths(bench.root, session).in, INBOUND_DB));
      try {
        return db.prepare(sql).pluck().get();
      } finally {
        db.close();
      }
    };
    const config = (): unknown => JSON.parse(String(ask('SELECT config FROM agent')));
    await until(() => ask('SELECT state FROM delivered') === 'delivered', 'the record of the delivery');
    expect(config()).toMatchObject({ instructions: 'be kind' });
    const counter = () => peekOutbound(join(cellPaths(bench.root, session).in, INBOUND_DB))?.changeCounter;
    const before = counter();
    await bench.store.patch(agentGroups, 'helper', { metadata: { labels: { x: 'y' } } }, { fieldManager: 'test' });
    await bench.store.patch(agentGroups, 'helper', { spec: { instructions: 'be brief' } }, { fieldManager: 'test' });
    await until(() => bench.runners.get(session)?.received.some(({ message }) => message?.$case === 'projection') === true, 'the doorbell');
    expect(config()).toMatchObject({ instructions: 'be brief' });
    expect((counter() ?? 0) - (before ?? 0)).toBe(1);
  });
});
