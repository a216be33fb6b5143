/** What a session costs the API server, counted from its own audit log. */
import { expect, test } from '@jest/globals';
import { untilObject } from '../../harness/cluster.ts';
import { type ApiCall, auditMark, auditReadable, callsSince, isOurs, isWrite } from '../../harness/cluster-audit.ts';
import { clusterVerifies, sessionOf, untilAsleep, untilAwake } from '../../harness/cluster-scenario.ts';
import { until } from '../../harness/until.ts';

const line = ({ by, verb, resource, name }: ApiCall): string => `${by} ${verb} ${resource} ${name}`;

if (!auditReadable()) test.skip('API calls are counted where the audit log can be read', () => {});
else {
  clusterVerifies('kube/sleep-wake', 'a wake and a sleep cost two writes of the Session and one of the Pod each', async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ idleTimeout: '2s' }, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    await slack.answer(ts, 'You said: hello');
    const { name } = (await sessionOf(agent)).metadata;
    await untilAsleep(name);

    const beforeWake = auditMark();
    await slack.say('hello again', ts);
    await slack.answer(ts, 'You said: hello again');
    await untilAwake(name);
    await untilAsleep(name);
    const writes = (await settled(beforeWake, name, 6)).map(line);
    const status = `controller patch sessions/status ${name}`;
    expect(writes.filter((one) => one !== status).sort()).toEqual([
      `controller create pods ${name}`,
      `controller delete pods ${name}`,
      `delivery patch sessions ${name}`,
      `delivery patch sessions ${name}`,
    ]);
    // Awake and Asleep; on a machine so busy that the Pod takes more than 2 s to run, Waking too.
    expect([2, 3]).toContain(writes.filter((one) => one === status).length);
  });

  clusterVerifies('kube/session-pod', 'a message to a session that is awake causes no call to the API server', async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    await slack.answer(ts, 'You said: hello');
    const { name } = (await sessionOf(agent)).metadata;
    await untilAwake(name);
    await slack.say('warm 0', ts);
    await slack.answer(ts, 'You said: warm 0');
    // The count of the wake is written some seconds later, for all sessions of the agent at once.
    await untilObject('agentgroup', agent, 'has counted it', ({ status }) => status?.['awakeSessions'] === 1);

    const mark = auditMark();
    const messages = 20;
    for (let n = 1; n <= messages; n += 1) {
      await slack.say(`warm ${n}.`, ts);
      await slack.answer(ts, `You said: warm ${n}.`);
    }
    const calls = callsSince(mark).filter(isOurs);
    expect(
      calls
        .filter(isWrite)
        .filter(({ resource }) => resource !== 'tokenreviews')
        .map(line),
    ).toEqual([]);
    // Tokens are reviewed anew once a minute, and a Secret is looked at now and then: not by the message.
    expect(calls.filter(({ verb }) => verb !== 'watch').length).toBeLessThan(messages / 2);
  });
}

/** The writes that concern a session, when at least `count` are in the log. */
async function settled(mark: number, session: string, count: number): Promise<readonly ApiCall[]> {
  return until(`the audit log has the writes of ${session}`, () => {
    const calls = callsSince(mark).filter((call) => isOurs(call) && isWrite(call) && call.name === session);
    return calls.length >= count ? calls : undefined;
  });
}
