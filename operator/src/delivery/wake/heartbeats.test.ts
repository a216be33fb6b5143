import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cellPaths, HEARTBEAT } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../lib/log.ts';
import { createBench, until } from '../testing/delivery-bench.ts';
import { RealRunner } from '../testing/real-runner.ts';
import { Heartbeats, LOOKS } from './heartbeats.ts';

let root: string;
let port: Server;
let address: string;
let heartbeats: Heartbeats;
let work: Promise<unknown>[];
let asleep: string[];
let failures: number;
const awake = new Set<string>();
const attached = new Map<string, string>();

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'dovecote-heartbeats-'));
  port = createServer();
  await new Promise<void>((resolve) => port.listen(0, '127.0.0.1', resolve));
  address = `127.0.0.1:${(port.address() as AddressInfo).port}`;
  awake.clear();
  attached.clear();
  work = [];
  asleep = [];
  failures = 0;
  heartbeats = new Heartbeats({
    root,
    wake: {
      awake: () => [...awake],
      state: (session) => (attached.has(session) ? 'Awake' : 'Waking'),
      putToSleep: (session, reason) => asleep.push(`${session} ${reason}`),
    },
    hub: {
      endpoint: (session) => {
        const at = attached.get(session);
        return at === undefined ? undefined : { address: at, certificate: '', callerSecret: '' };
      },
    },
    background: { run: (_work, _session, task) => void work.push(task(new AbortController().signal)) },
    log: silentLog,
    failures: {
      inc: () => {
        failures += 1;
      },
    },
  });
});
afterEach(() => {
  port.close();
  rmSync(root, { recursive: true });
});

function beat(session: string, at: number): void {
  const { out } = cellPaths(root, session);
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, HEARTBEAT), '');
  utimesSync(join(out, HEARTBEAT), at, at);
}
async function look(times: number): Promise<void> {
  for (let n = 0; n < times; n += 1) heartbeats.look();
  await Promise.all(work.splice(0));
}
/** Attached, and seen to beat. */
async function alive(session: string): Promise<void> {
  awake.add(session);
  attached.set(session, address);
  beat(session, 1);
  await look(1);
  beat(session, 2);
  await look(1);
}

describe('a runner', () => {
  test('whose file stands still while its port is open is ended, also when its stream was given up before', async () => {
    await alive('well');
    await alive('hung');
    attached.delete('hung');
    for (let n = 1; n <= LOOKS; n += 1) {
      beat('well', 2 + n);
      expect(asleep).toEqual([]);
      await look(1);
    }
    expect([asleep, failures]).toEqual([['hung Hung'], 1]);
  });

  test('that has died is left to its kubelet', async () => {
    await alive('dead');
    await new Promise((resolve) => port.close(resolve));
    await look(3 * LOOKS);
    expect(asleep).toEqual([]);
  });

  test('that says it listens at a name is not looked for: the name may lead anywhere', async () => {
    await alive('sly');
    attached.set('sly', address.replace('127.0.0.1', 'localhost'));
    await look(3 * LOOKS);
    expect(asleep).toEqual([]);
  });

  test('that was never seen to beat is not judged: its Pod is still being made', async () => {
    awake.add('new');
    attached.set('new', address);
    beat('new', 1); // of the Pod before
    await look(3 * LOOKS);
    expect(asleep).toEqual([]);
  });

  test('that slept since begins anew', async () => {
    await alive('again');
    await look(LOOKS - 1);
    awake.delete('again');
    await look(1);
    awake.add('again');
    await look(3 * LOOKS);
    expect(asleep).toEqual([]);
  });

  test('that is stopped as a process is put to sleep, and what it was asked wakes the next one', async () => {
    const bench = await createBench({ controller: false, limits: { hungMs: 13_500 } });
    let runner: RealRunner | undefined;
    try {
      await bench.agent('helper');
      const { session } = await bench.enqueue({ eventId: 'e1' });
      await until(async () => (await bench.session(session))?.spec.awake === true, 'the wake');
      runner = await RealRunner.start(bench, session, 'pod-1');
      await until(() => bench.delivered.length === 1, 'the answer');
      // Beaten at least once since it was looked at first, and seen so.
      await new Promise((resolve) => setTimeout(resolve, 8_000));
      runner.child.kill('SIGSTOP');
      const before = (await bench.session(session))?.metadata.generation ?? 0;
      await bench.enqueue({ eventId: 'e2' });
      // Asleep, and awake again for the message that waits.
      await until(async () => ((await bench.session(session))?.metadata.generation ?? 0) >= before + 2, 'the sleep and the wake');
      expect(await bench.session(session)).toMatchObject({ spec: { awake: true } });
    } finally {
      await runner?.kill();
      await bench.close();
    }
  });
});
