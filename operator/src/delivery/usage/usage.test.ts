import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openInboundReader, usage } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { agentGroups } from '../../kube/resource-types.ts';
import { systemClock } from '../../lib/clock.ts';
import { bearer, status, unary } from '../../lib/grpc.ts';
import { type Bench, createBench, localChannel, until } from '../testing/delivery-bench.ts';
import { plainTokens } from '../testing/tokens.ts';

let bench: Bench;
/** moved by the tests, so that days pass */
let ahead = 0;
beforeEach(async () => {
  ahead = 0;
  bench = await createBench({ deps: { clock: { ...systemClock, now: () => Date.now() + ahead } } });
});
afterEach(() => bench.close());

const tokens = (input: number, output = 0): usage.Tokens => ({ input, output, cacheRead: 0, cacheWrite: 0 });

async function client(role = 'proxy') {
  const stub = new usage.UsageClient(bench.delivery().address, credentials.createInsecure());
  const options = { metadata: await bearer(plainTokens(`role:${role}`), 'dovecote-delivery'), deadlineMs: 60_000 };
  return {
    admit: (requestId: string, request: Partial<usage.AdmitRequest> = {}) =>
      unary(
        stub,
        stub.admit,
        { requestId, session: 's1', agentGroup: 'helper', model: 'asked', holder: '', begun: false, ...request },
        options,
      ),
    finish: (requestId: string, taken: usage.Tokens, request: Partial<usage.FinishRequest> = {}) =>
      unary(
        stub,
        stub.finish,
        { requestId, session: 's1', agentGroup: 'helper', model: 'm-1', tokens: taken, complete: true, holder: '', ...request },
        options,
      ),
    list: async () => (await unary(stub, stub.listUsage, { agentGroup: '', fromMs: 0, toMs: 0 }, options)).agents,
    close: () => stub.close(),
  };
}
const reported = async () =>
  (await bench.store.get(agentGroups, 'helper'))?.status?.conditions?.find(({ type }) => type === 'WithinBudget');
const setBudget = (budget: object | null) => bench.store.patch(agentGroups, 'helper', { spec: { budget } }, { fieldManager: 'people' });

describe('the usage ledger', () => {
  test('adds up each request once, exactly, and shows those whose end nobody told; all of it outlives the process', async () => {
    await bench.agent('helper', { budget: { cost: '100', prices: [{ model: 'm-', input: '3', output: '15' }] } });
    let ledger = await client();
    await Promise.all(Array.from({ length: 50 }, (_, i) => ledger.admit(`r${i}`)));
    await Promise.all(Array.from({ length: 49 }, (_, i) => ledger.finish(`r${i}`, tokens(1_000, 10))));
    await Promise.all(Array.from({ length: 49 }, (_, i) => ledger.finish(`r${i}`, tokens(1_000, 10))));
    await ledger.finish('never admitted', tokens(5), { session: 's2', complete: false });
    ledger.close();
    await bench.restart();
    ledger = await client('gateway');
    expect(await ledger.list()).toEqual([
      { agentGroup: 'helper', session: 's1', model: 'm-1', tokens: tokens(49_000, 490), requests: 49, unfinished: 0, cost: 0.15435 },
      { agentGroup: 'helper', session: 's2', model: 'm-1', tokens: tokens(5), requests: 1, unfinished: 0, cost: 0.000015 },
      { agentGroup: 'helper', session: 's1', model: 'asked', tokens: tokens(0), requests: 1, unfinished: 1, cost: 0 },
    ]);
    ledger.close();
  });

  test('warns once in the chat of the session that passed four fifths, refuses at the end, and goes on with a new period or a raised budget', async () => {
    await localChannel(bench.store);
    await bench.agent('helper', { budget: { period: 'Day', tokens: 100 } });
    const { session } = await bench.enqueue({ eventId: 'e1' });
    await until(() => bench.delivered.length === 1, 'the answer');
    const ledger = await client();
    expect(await ledger.admit('a', { session })).toMatchObject({ admitted: true });
    await ledger.finish('a', tokens(40, 39), { session });
    expect(await reported()).toBeUndefined(); // far from the limit: not one write
    await ledger.finish('b', tokens(1), { session });
    await until(async () => (await reported())?.reason === 'BudgetLow', 'the report');
    await until(() => bench.delivered.length === 2, 'the notice');
    expect(JSON.stringify(bench.delivered[1])).toContain('helper has used 80 % of its budget for today: 80 of 100 tokens.');

    await ledger.finish('c', tokens(20), { session });
    const refused = await ledger.admit('d', { session });
    expect(refused.admitted).toBe(false);
    expect(refused.sentence).toContain('helper has used up its budget for today: 100 of 100 tokens. It goes on by itself on ');
    expect(refused.retryAtMs % 86_400_000).toBe(0);
    await until(async () => (await reported())?.reason === 'BudgetExhausted', 'the report');

    await setBudget({ tokens: 1_000 });
    await until(async () => (await ledger.admit('e', { session })).admitted, 'the raised budget');
    await until(async () => (await reported())?.reason === 'BudgetLeft', 'the report');

    await setBudget({ tokens: 100 });
    await until(async () => !(await ledger.admit('f', { session })).admitted, 'the lowered budget');
    ahead = refused.retryAtMs - Date.now();
    expect(await ledger.admit('g', { session })).toMatchObject({ admitted: true });
    // The scripted runner repeats delivery's own word to try again; nothing else was said.
    expect(bench.delivered.filter(({ content }) => !content.includes('echo /retry'))).toHaveLength(2);

    await setBudget(null);
    await until(async () => (await reported()) === undefined, 'the end of the report');
    ledger.close();
  });

  test('gives each proxy its part of what is surely left, over a restart too; what began in it is a row, even when the budget has ended since', async () => {
    // Room for ten of the largest requests: half of what is free to whoever asks, and an open one counts as the largest.
    await bench.agent('helper', { budget: { tokens: 12_000_000 } });
    let ledger = await client();
    const headroom = async (requestId: string, holder: string, begun = false) =>
      (await ledger.admit(requestId, { holder, begun })).headroom?.requests;
    expect(await headroom('a', 'p1')).toBe(4); // of 9
    expect(await headroom('b', 'p2')).toBe(2); // of 10 - 2 open - 4
    ledger.close();
    await bench.restart();
    ledger = await client();
    expect(await headroom('c', 'p3')).toBe(0); // of 10 - 3 open - 4 - 2
    expect(await headroom('d', 'p1', true)).toBe(2); // of 10 - 4 open - 2
    expect((await ledger.finish('c', tokens(0), { holder: 'p3' })).headroom?.requests).toBe(1); // of 10 - 3 open - 2 - 2
    ahead = 61_000; // p2 and p3 asked no more
    expect((await ledger.finish('d', tokens(0), { holder: 'p1' })).headroom?.requests).toBe(4); // of 10 - 2 open

    await ledger.finish('a', tokens(12_000_000), { holder: 'p1' });
    expect(await ledger.admit('e', { holder: 'p1' })).toMatchObject({ admitted: false });
    expect(await ledger.admit('f', { holder: 'p1', begun: true })).toMatchObject({ admitted: true, headroom: { requests: 0 } });
    ledger.close();
    ledger = await client('gateway');
    expect((await ledger.list()).reduce((total, { unfinished }) => total + unfinished, 0)).toBe(2); // b, f
    ledger.close();
  });

  test('who was refused is told to try again as soon as the budget is raised, or its period ends: by a row, once for each refusal', async () => {
    await localChannel(bench.store);
    await bench.agent('helper', { budget: { period: 'Day', tokens: 100 } });
    const { session } = await bench.enqueue({ eventId: 'e1' });
    const retries = (): readonly { lane: string; trigger: number; content: string }[] => {
      const db = openInboundReader(join(bench.root, 'cells', session, 'in', 'inbound.db'));
      try {
        const sql = "SELECT lane, trigger, content FROM messages_in WHERE event_id LIKE 'retry/budget/%' ORDER BY seq";
        return db.prepare(sql).all() as { lane: string; trigger: number; content: string }[];
      } finally {
        db.close();
      }
    };
    let ledger = await client();
    await ledger.finish('a', tokens(100), { session });
    expect(await ledger.admit('b', { session })).toMatchObject({ admitted: false });
    expect(await ledger.admit('c', { session })).toMatchObject({ admitted: false });
    ledger.close();
    await bench.restart();
    await setBudget({ tokens: 101 });
    await until(() => retries().length === 1, 'the word to try again');
    expect(retries()).toEqual([{ lane: 'control', trigger: 1, content: '{"text":"/retry"}' }]);

    ledger = await client();
    expect(await ledger.admit('d', { session })).toMatchObject({ admitted: true });
    await ledger.finish('d', tokens(1), { session });
    expect(await ledger.admit('e', { session })).toMatchObject({ admitted: false });
    ledger.close();
    ahead = 86_400_000;
    await until(() => retries().length === 2, 'the word of the new day');
    await bench.restart();
    await bench.enqueue({ eventId: 'e2' });
    expect(retries()).toHaveLength(2);
  });

  test('takes usage from the proxy alone, and no nonsense from it', async () => {
    await bench.agent('helper');
    for (const role of ['gateway', 'delivery', 'controller']) {
      const other = await client(role);
      await expect(other.admit('x')).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
      other.close();
    }
    const ledger = await client();
    await expect(ledger.list()).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    await expect(ledger.admit('x', { agentGroup: 'nobody' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(ledger.admit('x', { holder: 'x'.repeat(65) })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(ledger.admit('')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(ledger.finish('x', tokens(-1))).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(ledger.finish('x', tokens(2 ** 40))).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    ledger.close();
  });

  test('puts a file aside that cannot be read, and begins anew', async () => {
    await bench.agent('helper');
    await bench.stop();
    for (const suffix of ['-wal', '-shm']) rmSync(join(bench.root, `usage.db${suffix}`), { force: true });
    writeFileSync(join(bench.root, 'usage.db'), 'not a database, but long enough to be looked at as one'.repeat(100));
    await bench.restart();
    const ledger = await client();
    expect(await ledger.admit('x')).toMatchObject({ admitted: true });
    ledger.close();
  });
});
