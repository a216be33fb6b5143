/** A runner that ends with 78: its files are of a version that it must not touch, as after a downgrade. */
import { expect } from '@jest/globals';
import { conditionOf, kubectl, podsOf, untilCondition, untilGone } from '../../harness/cluster.ts';
import { clusterVerifies, untilAsleep } from '../../harness/cluster-scenario.ts';

/** Makes the file of the host look as if a later release had written it, or as it was. */
const WRITE_VERSION = `const db = new (require('/app/node_modules/better-sqlite3'))('/data/cells/' + process.argv[1] + '/in/inbound.db');
const before = db.pragma('user_version', { simple: true });
db.pragma('user_version = ' + process.argv[2]);
db.close();
console.log(before);`;

clusterVerifies(
  'kube/pod-killed',
  'a runner that refuses its files is not started again and again: its Pod goes, the status says why and when it is tried, the chat is told once, and it goes on when told to',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({ idleTimeout: '2s' }, agent);
    const chat = (await scenario.webChat(agent))();
    await chat.ask('remember teal', 'I will remember: teal');
    const session = await chat.session();
    await untilAsleep(session);
    const [delivery] = await podsOf('delivery');
    const writeVersion = (version: string): Promise<string> =>
      kubectl('exec', delivery?.metadata.name ?? '', '--', 'node', '-e', WRITE_VERSION, session, version);
    const version = (await writeVersion('999')).trim();

    await chat.send('recall');
    const refused = await untilCondition('session', session, 'Ready', 'False', 'RunnerRefused');
    expect(conditionOf(refused, 'Ready')?.message).toMatch(/999.*tried at .*spec\.suspended/);
    expect(refused.status).toMatchObject({ lastExit: { exitCode: 78 }, refused: { tries: 1 } });
    await chat.answer('the program of this agent refuses to start');
    await untilGone('pod', session);

    await writeVersion(version);
    const suspend = (suspended: boolean) =>
      kubectl('patch', 'session', session, '--type=merge', '-p', JSON.stringify({ spec: { suspended } }));
    await suspend(true);
    await untilCondition('session', session, 'Ready', 'True', 'Suspended');
    await suspend(false);
    await chat.answer('I remember: teal');
    expect((await untilCondition('session', session, 'Ready', 'True', 'Awake')).status?.['refused']).toBeUndefined();
    expect(chat.answers().filter((text) => text.includes('refuses to start'))).toHaveLength(1);
  },
);
