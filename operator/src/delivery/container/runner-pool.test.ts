import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { verifies } from '@dovecote/e2e/verifies.ts';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { systemClock } from '../../lib/clock.ts';
import { status } from '../../lib/grpc.ts';
import { silentLog } from '../../lib/log.ts';
import { ManualClock } from '../../lib/manual-clock.ts';
import type { RunnerEndpoint } from '../attach/hub.ts';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';
import { RealRunner } from '../testing/real-runner.ts';
import { RunnerPool } from './runner-pool.ts';

let bench: Bench;
const runners: RealRunner[] = [];
/** two sessions, each with a runner of its own */
let one: RunnerEndpoint;
let other: RunnerEndpoint;
beforeAll(async () => {
  bench = await createBench({ controller: false });
  await bench.agent('helper');
  const endpoint = async (chat: string): Promise<RunnerEndpoint> => {
    const { session } = await bench.enqueue({ eventId: chat, chat });
    runners.push(await RealRunner.start(bench, session, chat));
    const found = bench.delivery().runner(session);
    if (found === undefined) throw new Error('it is attached');
    return found;
  };
  one = await endpoint('one');
  other = await endpoint('other');
});
afterAll(async () => {
  for (const runner of runners) await runner.kill();
  await bench.close();
});

const never = new AbortController().signal;
const code = (wanted: status) => ({ code: wanted });
let now: RunnerEndpoint | undefined;
let clock: ManualClock;
let pool: RunnerPool;
let evictions = 0;
const closing: (() => void)[] = [];
const poolWith = (deps: { readonly clock: ManualClock | typeof systemClock }): RunnerPool => {
  const made = new RunnerPool({
    ...deps,
    endpoint: () => now,
    log: silentLog,
    evictions: {
      inc: () => {
        evictions += 1;
      },
    },
  });
  closing.push(() => made.close());
  return made;
};
beforeEach(() => {
  evictions = 0;
  clock = new ManualClock();
  pool = poolWith({ clock });
});
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Somewhere on the way to a runner: passes bytes on, or swallows them. Counts who came. */
async function relay(target: RunnerEndpoint | undefined): Promise<{ readonly address: string; readonly sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    if (target === undefined) return; // a black hole: accepts, and says nothing
    const [host = '', port = ''] = target.address.split(':');
    const onward = connect(Number(port), host);
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

verifies('pod/pool', 'however many calls come at once, one connection is made, and it is kept', async () => {
  const way = await relay(one);
  now = { ...one, address: way.address };
  const connections = await Promise.all(Array.from({ length: 20 }, () => pool.connection('s', never)));
  expect(new Set(connections.map(({ client }) => client)).size).toBe(1);
  await pool.connection('s', never);
  expect([way.sockets.length, pool.size]).toEqual([1, 1]);
});

verifies('pod/pool', 'one that hangs in Connecting is given up after 30 s, for all who wait; the next call dials anew', async () => {
  const hole = await relay(undefined);
  now = { ...one, address: hole.address };
  const waiting = Promise.allSettled([pool.connection('s', never), pool.connection('s', never)]);
  await until(() => hole.sockets.length > 0 && clock.sleeping > 0, 'the dial');
  await clock.advance(29_999);
  expect([pool.size, evictions]).toEqual([1, 0]);
  await clock.advance(1);
  expect(await waiting).toMatchObject([
    { reason: code(status.UNAVAILABLE) },
    { reason: { message: expect.stringContaining('within 30 s') } },
  ]);
  expect([pool.size, evictions]).toEqual([0, 1]);
  const way = await relay(one);
  now = { ...one, address: way.address };
  await pool.connection('s', never);
  expect([way.sockets.length, evictions]).toEqual([1, 1]);
  // Half a minute later it is still there: it was connected.
  await clock.advance(60_000);
  expect(pool.size).toBe(1);
});

verifies(
  'pod/pool',
  'a new address or certificate takes the place of the old connection at once, in the middle of a dial too',
  async () => {
    const hole = await relay(undefined);
    now = { ...one, address: hole.address };
    const waiting = pool.connection('s', never);
    waiting.catch(() => {});
    await until(() => hole.sockets.length > 0, 'the dial');
    now = one;
    const young = await pool.connection('s', never); // time stands still
    await expect(waiting).rejects.toMatchObject({ ...code(status.UNAVAILABLE), message: expect.stringContaining('has a new runner') });
    now = other;
    const youngest = await pool.connection('s', never);
    expect([youngest.client === young.client, pool.size]).toEqual([false, 1]);
    // Nobody attached: nothing is kept.
    now = undefined;
    pool.refresh('s');
    expect(pool.size).toBe(0);
    await expect(pool.connection('s', never)).rejects.toMatchObject(code(status.UNAVAILABLE));
  },
);

verifies('pod/tls-per-session', 'whoever answers at the address without the pinned key is never spoken with', async () => {
  now = { ...one, address: other.address };
  const waiting = pool.connection('s', never);
  waiting.catch(() => {});
  await until(() => clock.sleeping > 0, 'the failure');
  await clock.advance(30_000);
  await expect(waiting).rejects.toMatchObject(code(status.UNAVAILABLE));
});

test('a secret that the runner does not know yet is shown again until it does; one that it never takes is told', async () => {
  pool = poolWith({ clock: systemClock });
  now = { ...one, callerSecret: 'from a later stream' };
  const waiting = pool.connection('s', never);
  await systemClock.sleep(300, never);
  now = one;
  await waiting;
  now = { ...one, callerSecret: 'wrong' };
  await expect(pool.connection('s', never)).rejects.toMatchObject({
    ...code(status.UNAVAILABLE),
    message: expect.stringContaining('does not answer'),
  });
});

test('what a runner says of itself is no more than an address and a certificate', async () => {
  for (const hostile of [
    { address: 'unix:/var/run/other.sock' },
    { address: 'dns:///elsewhere:1' },
    { address: '' },
    { certificate: 'PEM' },
  ]) {
    now = { ...one, ...hostile };
    await expect(pool.connection('s', never)).rejects.toMatchObject(code(status.UNAVAILABLE));
  }
});

test('a caller that leaves while it waits is let go, and the connection is made for the others', async () => {
  const way = await relay(one);
  now = { ...one, address: way.address };
  const gone = new AbortController();
  const [first, second] = [pool.connection('s', gone.signal), pool.connection('s', never)];
  gone.abort(new Error('left'));
  await expect(first).rejects.toThrow('left');
  await second;
  expect(way.sockets.length).toBe(1);
});
