/** People at the files and commands of a session, by the command line and with the rights that RBAC gives them. */
import { expect } from '@jest/globals';
import { get, kubectl } from '../../harness/cluster.ts';
import { EVERYTHING_WITH_SESSIONS, person } from '../../harness/cluster-person.ts';
import { clusterVerifies, sessionOf, untilAsleep } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

clusterVerifies(
  'pod/pool',
  'commands and files reach a Pod at its own address, and the Pod that takes its place at once, for those whom RBAC lets',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    await slack.answer(ts, 'You said: hello');
    const { name } = (await sessionOf(agent)).metadata;
    const { dovecote } = await person(scenario, EVERYTHING_WITH_SESSIONS);
    const { dovecote: reader } = await person(scenario, [{ resource: 'sessions', verbs: ['get'] }]);

    const first = await dovecote(['exec', name, '--tty', '--', 'sh', '-c', 'test -t 0 && echo "in $(hostname)"; exit 4']);
    expect([first.code, first.stdout]).toEqual([4, expect.stringContaining(`in ${name}`)]);
    expect(await dovecote(['files', 'put', name, 'notes/a.txt'], 'from outside')).toMatchObject({ code: 0, stderr: '' });
    expect(await kubectl('exec', name, '--', 'cat', '/workspace/notes/a.txt')).toBe('from outside');
    expect((await reader(['files', 'get', name, 'notes/a.txt'])).stdout).toBe('from outside');
    expect(await reader(['files', 'put', name, 'notes/a.txt'], 'x')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('needs the verb "patch"'),
    });
    expect((await reader(['exec', name, '--', 'true'])).code).toBe(1);

    const pod = (await get('pod', name))?.metadata.uid;
    const cut = dovecote(['exec', name, '--', 'sleep', '100']);
    await kubectl('delete', 'pod', name, '--force', '--grace-period=0');
    expect((await cut).code).toBe(1);
    await slack.say('and now?', ts);
    await slack.answer(ts, 'You said: and now?', 90_000);
    expect((await get('pod', name))?.metadata.uid).not.toBe(pod);
    const next = await dovecote(['exec', name, '--', 'cat', '/workspace/notes/a.txt']);
    expect([next.code, next.stdout, next.stderr]).toEqual([0, 'from outside', '']);
  },
);

clusterVerifies(
  'pod/asleep-files',
  'the files of a session without a Pod are read and written on the volume, and its next Pod finds them',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ idleTimeout: '2s' }, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('tool write_file {"path":"a.txt","content":"of the agent"}\nsay written');
    await slack.answer(ts, 'written');
    const { name } = (await sessionOf(agent)).metadata;
    await untilAsleep(name);
    const { dovecote } = await person(scenario, EVERYTHING_WITH_SESSIONS);
    expect((await dovecote(['files', 'get', name, 'a.txt'])).stdout).toBe('of the agent');
    expect(await dovecote(['files', 'put', name, 'a.txt'], 'while it slept')).toMatchObject({ code: 0, stderr: '' });
    expect((await dovecote(['files', 'get', name, '../in/inbound.db'])).code).toBe(1);
    const { code, stderr } = await dovecote(['exec', name, '--', 'true']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('a message to it wakes it')]);
    expect(await get('pod', name)).toBeUndefined();
    await slack.say('tool exec {"command":"cat a.txt"}\nsay found {result}', ts);
    await until('the agent found it', async () => (await slack.replies(ts)).some(({ text }) => text.includes('while it slept')), 90_000);
  },
);
