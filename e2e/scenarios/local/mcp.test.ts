import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { EVERYTHING, EverythingOverHttp } from '../../../runner/src/mcp/testing/everything.ts';
import { type ScriptedProxy, startScriptedProxy } from '../../../runner/src/mcp/testing/scripted-proxy.ts';
import { kill, LocalMode, NODE } from '../../harness/local-mode.ts';
import { secret, webAgent } from '../../harness/objects.ts';
import { PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

/** The protocol's reference server by HTTP, behind a door that opens only for the key in the agent's Secret. */
let reference: EverythingOverHttp;
let door: ScriptedProxy;
let house: LocalMode;

beforeAll(async () => {
  reference = await EverythingOverHttp.start();
  door = await startScriptedProxy('key-of-the-server');
  door.targets.set('reference', reference.url);
  house = await LocalMode.start({
    manifests: {
      ...secret('reference', { token: 'key-of-the-server' }),
      ...webAgent({
        mcpServers: [
          { name: 'everything', type: 'stdio', stdio: { command: [NODE, EVERYTHING, 'stdio'] } },
          {
            name: 'remote',
            type: 'http',
            http: {
              url: `${door.url}/mcp/reference`,
              headers: [{ name: 'Authorization', prefix: 'Bearer ', secretRef: { name: 'reference', key: 'token' } }],
            },
            tools: ['echo'],
          },
          { name: 'absent', type: 'stdio', stdio: { command: ['no-such-program'] } },
        ],
      }),
    },
  });
}, PATIENT_MS);
afterAll(async () => {
  await house?.dispose();
  await door?.close();
  await reference?.kill();
}, PATIENT_MS);

/** Reference servers over stdio that a runner started. */
function serversOf(runner: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      const parent = Number(/^\d+ \(.*\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]);
      return args[1] === EVERYTHING && parent === runner ? [Number(name)] : [];
    } catch {
      return []; // no process, or ended between the two looks
    }
  });
}

verifies(
  'tool/mcp-stdio-http',
  'the reference server is used over stdio and, through the proxy, over HTTP; killed, it is started again; restarted, it is found again',
  async () => {
    const chat = house.chat();
    await chat.ask('tool mcp__everything__echo {"message":"one"}\nsay stdio: {result}', 'stdio: Echo: one');
    await chat.ask('tool mcp__remote__echo {"message":"two"}\nsay http: {result}', 'http: Echo: two');
    // Only what the settings allow of it.
    expect(await chat.ask('tool mcp__remote__get_sum {"a":1,"b":2}\nsay sum: {result}', 'sum: ')).toContain('There is no tool named');

    const runner = await house.runner(await chat.session());
    const [server = 0, ...others] = serversOf(runner);
    expect(server).toBeGreaterThan(0);
    expect(others).toEqual([]);
    kill(server, 'SIGKILL');
    await reference.kill();
    await reference.start();
    await chat.ask('tool mcp__everything__echo {"message":"three"}\nsay stdio: {result}', 'stdio: Echo: three');
    await chat.ask('tool mcp__remote__echo {"message":"four"}\nsay http: {result}', 'http: Echo: four');
    expect(await house.runner(await chat.session())).toBe(runner);
    const [second = 0] = serversOf(runner);
    expect(second).not.toBe(server);

    // The key of the server is nowhere in the Pod; what the Pod may show opens the proxy only.
    for (const pid of [runner, second]) {
      const visible = ['environ', 'cmdline'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'latin1')).join('\0');
      expect(visible).not.toContain('key-of-the-server');
    }
    await house.stop();
    await until(
      'the servers ended with their runner',
      () => serversOf(runner).length === 0 && !readdirSync('/proc').includes(String(second)),
    );
  },
  PATIENT_MS,
);
