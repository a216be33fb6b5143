/**
 * The client that the public conformance suite starts: the runner's own, through a proxy as in a Pod. Calls whatever tool the
 * scenario offers. Run as `node conformance-client.ts <url of the scenario's server>`. For tests only.
 */
import { startScriptedProxy } from './scripted-proxy.ts';
import { remote, TestServers } from './test-servers.ts';

const INPUTS: Readonly<Record<string, unknown>> = { mcp__scenario__add_numbers: { a: 5, b: 3 } };

const proxy = await startScriptedProxy('pod-token');
proxy.targets.set('scenario', process.argv[2] ?? '');
const it = new TestServers({}, proxy);
await it.apply(remote('scenario'));
for (const sentence of it.servers.missing) console.error(sentence);
for (const name of it.names) {
  const { text, isError } = await it.use(name, INPUTS[name] ?? {});
  console.log(`${name}: ${text}`);
  if (isError) process.exitCode = 1;
}
if (it.servers.missing.length > 0) process.exitCode = 1;
await it.close();
await proxy.close();
