/** The runner is killed inside a tool, and then its whole Pod inside the next: the turn goes on behind what was finished. */
import { expect, test } from '@jest/globals';
import { get, kubectl } from '../../harness/cluster.ts';
import { killOnNode, nodeReachable } from '../../harness/cluster-node.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

/** Each writes one line; the last word of two of them is never written. */
const SCRIPT = `remember teal
tool exec {"command":"echo one >> steps"}
tool exec {"command":"echo two begins >> steps; sleep 100; echo two ends >> steps"}
tool exec {"command":"echo three >> steps"}
tool exec {"command":"echo four begins >> steps; sleep 100; echo four ends >> steps"}
tool exec {"command":"cat steps"}
say steps: {result}`;

if (!nodeReachable()) test.skip('a runner is killed inside a tool where the node can be entered [turn/resume-transcript]', () => {});
else {
  clusterVerifies(
    'turn/resume-transcript',
    'a runner killed inside a tool and a Pod deleted inside the next: each finished step was done once, none that was cut off is done again, and there is one answer',
    async (scenario) => {
      const agent = scenario.name('agent');
      await scenario.agent({}, agent);
      const chat = (await scenario.webChat(agent))();
      await chat.send(SCRIPT);
      const session = await chat.session();
      const steps = (): Promise<string> => kubectl('exec', session, '--', 'cat', '/workspace/steps').catch(() => '');
      await until('it is inside the second step', async () => (await steps()).includes('two begins'), 60_000);
      await killOnNode(`/app/main.mjs --session ${session} `);
      await until('it is inside the fourth step', async () => (await steps()).includes('four begins'), 60_000);
      const pod = (await get('pod', session))?.metadata.uid;
      await kubectl('delete', 'pod', session, '--force', '--grace-period=0');
      expect(await chat.answer('steps: ', 90_000)).toMatch(/steps: one\s+two begins\s+three\s+four begins\s*$/);
      expect((await get('pod', session))?.metadata.uid).not.toBe(pod);
      await chat.ask('recall', 'I remember: teal');
      expect(chat.answers().filter((text) => text.includes('steps: '))).toHaveLength(1);
    },
    180_000,
  );
}
