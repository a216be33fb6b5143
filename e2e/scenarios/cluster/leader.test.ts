/** Two controllers run, one acts. */
import { expect, test } from '@jest/globals';
import { get, kubectl, podsOf } from '../../harness/cluster.ts';
import { auditMark, auditReadable, callsSince, isWrite } from '../../harness/cluster-audit.ts';
import { killOnNode, nodeReachable, signalOnNode } from '../../harness/cluster-node.ts';
import { clusterVerifies, sessionOf } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

const holder = async (): Promise<string> => String((await get('lease', 'dovecote-controller'))?.spec?.['holderIdentity'] ?? '');

if (!nodeReachable() || !auditReadable()) test.skip('a leader is killed where the node can be entered [kube/leader]', () => {});
else {
  clusterVerifies(
    'kube/leader',
    'the leader is killed: the other takes over, serves what waited, and never do two write at a time',
    async (scenario) => {
      expect(await podsOf('controller')).toHaveLength(2);
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const { slack } = await scenario.slackChat(agent);
      const mark = auditMark();
      const first = await until('somebody leads', async () => (await holder()) || undefined);
      const [leader] = (await podsOf('controller')).filter(({ metadata }) => first.startsWith(metadata.name));
      expect(leader).toBeDefined();
      const name = leader?.metadata.name ?? '';
      await killOnNode(`/app/main.mjs controller .*--replica=${name} `);
      await kubectl('delete', 'pod', name, '--force', '--grace-period=0', '--wait=false');
      const ts = await slack.say('is anybody there?'); // a new session, which needs a controller
      const second = await until('another leads', async () => {
        const now = await holder();
        return now !== '' && now !== first ? now : undefined;
      });
      await slack.answer(ts, 'You said: is anybody there?', 60_000);
      expect(await sessionOf(agent)).toBeDefined();

      const writers = callsSince(mark)
        .filter((call) => call.by === 'controller' && isWrite(call) && call.code < 300)
        .map(({ pod }) => pod);
      expect(new Set(writers).size).toBeLessThanOrEqual(2);
      // In time order: whoever wrote before wrote nothing once another had.
      const turns = writers.filter((pod, n) => pod !== writers[n - 1]);
      expect(turns).toHaveLength(new Set(writers).size);
      expect(second.startsWith(turns.at(-1) ?? 'nobody wrote')).toBe(true);
    },
    180_000,
  );

  clusterVerifies(
    'kube/leader',
    'a leader that stood still for longer than its lease writes nothing when it goes on',
    async (scenario) => {
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const { slack } = await scenario.slackChat(agent);
      const first = await until('somebody leads', async () => (await holder()) || undefined);
      const [leader] = (await podsOf('controller')).filter(({ metadata }) => first.startsWith(metadata.name));
      const name = leader?.metadata.name ?? '';
      const process = `/app/main.mjs controller .*--replica=${name} `;
      let mark = 0;
      await signalOnNode('STOP', process);
      try {
        await until('another leads', async () => {
          const now = await holder();
          return now !== '' && now !== first;
        });
        mark = auditMark();
      } finally {
        await signalOnNode('CONT', process);
      }
      // Work for whoever acts, while the old one finds out what happened.
      for (const text of ['one', 'two', 'three']) {
        const ts = await slack.say(text);
        await slack.answer(ts, `You said: ${text}`);
      }
      const writers = await until('a Pod and a status of each session are written', () => {
        const calls = callsSince(mark).filter((call) => call.by === 'controller' && isWrite(call) && call.code < 300);
        return calls.length >= 6 ? calls : undefined;
      });
      expect(writers.filter(({ pod }) => pod === name)).toEqual([]);
    },
    120_000,
  );
}
