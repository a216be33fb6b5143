/** The runner's bundle by itself, as a process of this machine: how soon it is attached, and what it holds while it waits. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentConfig } from '@dovecote/proto';
import { ProxyStandIn } from '../../runner/src/providers/anthropic/proxy-stand-in.ts';
import { TestCell } from '../../runner/src/testing/cell.ts';
import { DeliveryStandIn } from '../../runner/src/testing/delivery-stand-in.ts';
import { ModelEmulator } from '../emulators/model.ts';
import { NODE } from '../harness/local-mode.ts';
import { until } from '../harness/until.ts';
import { type Result, summarise } from './sample.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/runner/main.mjs', import.meta.url));
/** After this a process that waits has given back what its start took. */
const SETTLE_MS = 3_000;

/** `samples`: starts of each kind. */
export async function runnerFootprint(samples: number): Promise<Result[]> {
  const model = await ModelEmulator.start('127.0.0.1');
  model.mock.addFixture({ match: { userMessage: /./ }, response: { content: 'Hello.' } });
  const proxy = await ProxyStandIn.start(() => model.baseURL);
  const results: Result[] = [];
  for (const provider of ['demo', 'anthropic'] as const) {
    const attached: number[] = [];
    const idle: number[] = [];
    const used: number[] = [];
    for (let n = 0; n < samples; n += 1) {
      const once = await start({ provider }, proxy.url);
      attached.push(once.attachedMs);
      idle.push(once.idleMb);
      used.push(once.usedMb);
    }
    results.push(summarise(`runner (${provider}): start to attached`, 'ms', attached));
    results.push(summarise(`runner (${provider}): RSS idle`, 'MB', idle));
    results.push(summarise(`runner (${provider}): RSS idle after a turn`, 'MB', used));
  }
  await proxy.close();
  await model.close();
  return results;
}

interface Once {
  readonly attachedMs: number;
  readonly idleMb: number;
  readonly usedMb: number;
}

async function start(agent: Partial<AgentConfig>, proxy: string): Promise<Once> {
  const delivery = new DeliveryStandIn();
  await delivery.listen();
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-runner-bench-'));
  const token = join(folder, 'token');
  writeFileSync(token, 'a-token\n');
  const cell = new TestCell({ agent });
  const flags = ['--session', 'helper-abc', '--in', cell.in, '--out', cell.out, '--workspace', cell.workspace, '--home', cell.home];
  const reach = ['--attach', `127.0.0.1:${delivery.port}`, '--token', token, '--proxy', proxy, '--proxy-token', token];
  const began = performance.now();
  const child = spawn(NODE, [PROGRAM, ...flags, ...reach, '--log-level', 'warn'], { stdio: 'inherit' });
  try {
    await until('it is attached', () => delivery.of('hello').length > 0 || undefined);
    const attachedMs = performance.now() - began;
    await settled();
    const idleMb = rss(child.pid);
    cell.say('hello');
    delivery.send({ $case: 'inbox', value: { seq: 2 } });
    await until('it has answered', () => cell.texts().length > 0 || undefined);
    await settled();
    return { attachedMs, idleMb, usedMb: rss(child.pid) };
  } finally {
    child.kill('SIGKILL');
    delivery.close();
    cell.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

function rss(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}
