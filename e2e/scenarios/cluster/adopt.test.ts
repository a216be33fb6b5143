/** The operator dies in the middle of a turn; the conversation does not notice. */
import { expect, test } from '@jest/globals';
import { get, kubectl, podsOf, untilInstallationReady } from '../../harness/cluster.ts';
import { killOnNode, nodeReachable } from '../../harness/cluster-node.ts';
import { clusterVerifies, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';

if (!nodeReachable()) test.skip('processes are killed where the node can be entered [kube/adopt]', () => {});
else {
  clusterVerifies(
    'kube/adopt',
    'controller, delivery and gateway are killed in mid-turn: the Pod is adopted, the turn ends, and there is one reply',
    async (scenario) => {
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const { slack } = await scenario.slackChat(agent);
      const ts = await slack.say('hello');
      await slack.answer(ts, 'You said: hello');
      const { name } = (await sessionOf(agent)).metadata;
      await untilAwake(name);
      const pod = (await get('pod', name))?.metadata.uid;

      await slack.say('sleep 4s\nsay the turn ended', ts);
      for (const role of ['controller', 'delivery', 'gateway'] as const) {
        const pods = await podsOf(role);
        expect(pods.length).toBeGreaterThan(0);
        await killOnNode(`/app/main.mjs ${role} `);
        // A new Pod instead of the kubelet's growing wait: it too finds the session as it is.
        await kubectl('delete', 'pod', ...pods.map(({ metadata }) => metadata.name), '--force', '--grace-period=0', '--wait=false');
      }
      expect((await slack.replies(ts)).filter(({ text }) => text.includes('the turn ended'))).toEqual([]); // it was in mid-turn

      await slack.answer(ts, 'the turn ended', 90_000);
      expect((await get('pod', name))?.metadata.uid).toBe(pod);
      await untilInstallationReady();
      await slack.say('and now?', ts);
      await slack.answer(ts, 'You said: and now?', 90_000);
      expect((await slack.replies(ts)).filter(({ text }) => text.includes('the turn ended'))).toHaveLength(1);
      expect((await get('pod', name))?.metadata.uid).toBe(pod);
    },
    240_000,
  );
}
