/** A session that is idle loses its Pod and nothing else. */
import { expect } from '@jest/globals';
import { get, untilGone } from '../../harness/cluster.ts';
import { clusterVerifies, sessionOf, untilAsleep } from '../../harness/cluster-scenario.ts';

clusterVerifies(
  'kube/sleep-wake',
  'an idle session loses its Pod, and a message brings it back with its files and its memory',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ idleTimeout: '3s' }, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('tool exec {"command":"echo kept > note.txt"}\nremember the colour blue');
    await slack.answer(ts, 'I will remember: the colour blue');
    const before = await sessionOf(agent);
    const { name } = before.metadata;
    const firstPod = (await get('pod', name))?.metadata.uid;
    expect(firstPod).toBeDefined();

    const asleep = await untilAsleep(name);
    expect(asleep.spec?.['awake']).toBe(false);
    expect(asleep.status?.['podUid']).toBeUndefined();
    expect(await get('pod', name)).toBeUndefined(); // Asleep is said only when it is gone

    await slack.say('recall\ntool exec {"command":"cat note.txt"}\nsay the file says {result}', ts);
    await slack.answer(ts, 'the file says kept');
    expect((await slack.replies(ts)).map(({ text }) => text).join('\n')).toContain('kept');
    await slack.say('recall', ts);
    await slack.answer(ts, 'I remember: the colour blue');
    const after = await get('session', name);
    expect(after?.metadata.uid).toBe(before.metadata.uid);
    const secondPod = (await get('pod', name))?.metadata.uid;
    expect(secondPod).toBeDefined();
    expect(secondPod).not.toBe(firstPod);
    await untilAsleep(name);
    await untilGone('pod', name);
  },
);
