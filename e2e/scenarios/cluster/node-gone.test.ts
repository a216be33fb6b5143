/** The node stops answering. Whether its Pod still runs cannot be known, so there must not be a second one. */
import { expect, test } from '@jest/globals';
import { get, kubectl, untilCondition, untilObject } from '../../harness/cluster.ts';
import { auditMark, auditReadable, callsSince } from '../../harness/cluster-audit.ts';
import { nodeReachable, withKubeletStopped } from '../../harness/cluster-node.ts';
import { clusterVerifies, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

if (!nodeReachable() || !auditReadable()) test.skip('a node is silenced where it can be entered [kube/node-gone]', () => {});
else {
  clusterVerifies(
    'kube/node-gone',
    'while a Pod that cannot be reached may still live, no second one is made, whatever awake says',
    async (scenario) => {
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const { slack } = await scenario.slackChat(agent);
      const ts = await slack.say('remember one');
      await slack.answer(ts, 'I will remember: one');
      const { name } = (await sessionOf(agent)).metadata;
      await untilAwake(name);
      const first = (await get('pod', name))?.metadata.uid;
      const mark = auditMark();
      await withKubeletStopped(async () => {
        await kubectl('patch', 'session', name, '--type=merge', '-p', '{"spec":{"awake":false}}');
        await until('its Pod is to end', async () => (await get('pod', name))?.metadata.deletionTimestamp !== undefined);
        await slack.say('recall', ts); // wants it awake again
        await until('it is to be awake', async () => (await get('session', name))?.spec?.['awake'] === true);
        // The controller has seen this: it says what it waits for.
        await untilCondition('session', name, 'Active', 'Unknown', 'Waking');
        const pod = await get('pod', name);
        expect(pod?.metadata.uid).toBe(first);
      });
      await slack.answer(ts, 'I remember: one', 90_000); // by the first, which lived, or by the second
      await untilObject('pod', name, 'is another one', ({ metadata }) => metadata.uid !== first, 90_000);
      await slack.say('say all is well', ts);
      await slack.answer(ts, 'all is well', 90_000);
      const created = callsSince(mark).filter(
        ({ verb, resource, name: of, code }) => verb === 'create' && resource === 'pods' && of === name && code < 300,
      );
      expect(created).toHaveLength(1); // and that one behind the end of the first
    },
    180_000,
  );

  clusterVerifies(
    'kube/node-gone',
    'a node that does not answer is named in the status, its Pod is left alone, and all is well when it comes back',
    async (scenario) => {
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const { slack } = await scenario.slackChat(agent);
      const ts = await slack.say('hello');
      await slack.answer(ts, 'You said: hello');
      const { name } = (await sessionOf(agent)).metadata;
      await untilAwake(name);
      const first = (await get('pod', name))?.metadata.uid;
      await withKubeletStopped(async () => {
        const lost = await untilCondition('session', name, 'Ready', 'False', 'NodeLost', 120_000);
        expect(lost.status?.['podUid']).toBe(first);
        const pod = await get('pod', name);
        expect(pod?.metadata.uid).toBe(first);
        expect(pod?.metadata.deletionTimestamp).toBeUndefined();
      });
      await untilCondition('session', name, 'Ready', 'True', 'Awake', 90_000);
      expect((await get('pod', name))?.metadata.uid).toBe(first);
    },
    300_000,
  );
}
