/** What people see while a Pod works: through runner, delivery and gateway, on the page and on a platform that can edit. */
import { expect } from '@jest/globals';
import { FaultsMock } from '../../emulators/faults-mock.ts';
import { fact } from '../../harness/cluster.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

/** Fifty milliseconds a word. */
const words = (count: number, of: string): string => Array.from({ length: count }, (_, n) => `${of}${n}`).join(' ');

clusterVerifies(
  'turn/streaming-out',
  'the page and a Slack thread see the tool that runs and the answer that grows, each not more often than it may, and the answer itself once',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const web = (await scenario.webChat(agent))();
    let edits: FaultsMock | undefined;
    const { slack } = await scenario.slackChat(agent, {
      apiUrl: async ({ apiUrl }) => {
        edits = await FaultsMock.start(fact('HOST_IP'), apiUrl);
        scenario.later(async () => edits?.close());
        return edits.url;
      },
    });
    const text = words(100, 'w');
    const script = `tool exec {"command":"sleep 3"}\nstream slowly ${text}`;
    web.rows(); // looks on from the beginning
    await web.send(script);
    const thread = await slack.say(script);
    const shown = async (): Promise<string> => (await slack.replies(thread))[0]?.text ?? '';

    await slack.answer(thread, 'using exec');
    await slack.answer(thread, /^w0 .* …$/);
    const short = await shown();
    await until('it grows', async () => {
      const now = await shown();
      return now.length > short.length && now.endsWith(' …');
    });
    await until('it is the answer', async () => (await shown()) === text);
    expect(await slack.replies(thread)).toHaveLength(1);
    const changes = (edits?.calls(/chat\.update/) ?? []).map(({ at }) => at);
    expect(edits?.calls(/chat\.postMessage/)).toHaveLength(1);
    expect(changes.length).toBeGreaterThan(2);
    // The last is the answer, which waits for nothing.
    for (const [n, at] of changes.slice(1, -1).entries()) expect(at - (changes[n] ?? 0)).toBeGreaterThan(1_000);

    expect(await web.answer('w99')).toBe(text);
    expect(web.activities.some((activity) => activity.includes('exec'))).toBe(true);
    await until('nothing is being written any more', () => web.partials.at(-1) === '');
    const grown = web.partials.slice(0, -1);
    expect(grown.length).toBeGreaterThan(2);
    // Each is the beginning of what follows it.
    for (const [n, partial] of grown.entries()) expect(`${grown[n + 1] ?? text}`.startsWith(partial)).toBe(true);
    expect(web.answers()).toEqual([text]);
  },
);
