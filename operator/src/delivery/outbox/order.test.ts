import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ManualClock } from '../../lib/manual-clock.ts';
import { type Bench, hear, ledgerOf, makeCell, makeFolder, openBench, RunnerHand, remove, SESSION, until } from './testing/bench-cell.ts';
import { type Act, type ScriptedPlatform, startScriptedPlatform } from './testing/scripted-platform.ts';

let gateway: ScriptedPlatform;
beforeEach(async () => {
  gateway = await startScriptedPlatform();
});
afterEach(() => gateway.close());

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Act>({ type: 'deliver' }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('retry' as const), afterMs: fc.constantFrom(0, 5_000) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('retry' as const), maybeSent: fc.constant(true), sent: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant<Act>({ type: 'refuse', reason: 'Forbidden', message: 'no' }) },
  { weight: 1, arbitrary: fc.constant<Act>({ type: 'deliver', more: true }) },
);

describe('any mix of failures', () => {
  test('in each lane every message arrives once and in order, whatever fails and however often delivery restarts', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 14 }), // the chat of each message
        fc.array(act, { maxLength: 40 }), // what the calls come to, in the order in which they are made
        fc.array(fc.boolean(), { minLength: 10, maxLength: 10 }), // restart between steps of time
        async (chats, acts, restarts) => {
          const root = makeFolder();
          const clock = new ManualClock();
          const script = [...acts];
          const refused = new Set<string>();
          gateway.sent.length = 0;
          gateway.act = ({ idempotencyKey }) => {
            const next = script.shift();
            if (next?.type === 'refuse') refused.add(idempotencyKey);
            return next;
          };
          let bench: Bench = openBench({ root, address: gateway.address, clock });
          makeCell(bench.cells);
          const heard = [0, 1, 2, 3].map((chat) => hear(bench.cells, { chat: `c${chat}` }));
          const runner = new RunnerHand(root);
          const half = Math.ceil(chats.length / 2);
          const say = (list: readonly number[]): void => {
            for (const chat of list) runner.say({ replyTo: heard[chat] ?? 0 });
          };
          say(chats.slice(0, half));
          await bench.outbox.read(SESSION);
          say(chats.slice(half));
          await bench.outbox.read(SESSION);
          const idle = (): boolean =>
            ledgerOf(bench.cells).every((row) => row.state !== 'sending' && !(row.state === 'queued' && row.attempts > 0));
          const waiting = (): boolean =>
            ledgerOf(bench.cells).some(
              (row) =>
                row.state === 'sending' ||
                (['failed', 'in_doubt', 'queued'].includes(row.state) && row.next_attempt_at <= clock.now() && !blocked(row.lane)),
            );
          const blocked = (lane: string): boolean => {
            const head = ledgerOf(bench.cells).find((row) => row.lane === lane && !['delivered', 'dead'].includes(row.state));
            return head !== undefined && head.next_attempt_at > clock.now();
          };
          for (let step = 0; bench.outbox.open(SESSION) > 0; step++) {
            await until(() => idle() && !waiting(), 'all that is due');
            if (restarts[step % restarts.length] === true && step < 20) {
              await bench.close();
              bench = openBench({ root, address: gateway.address, clock });
              await bench.outbox.resume(SESSION);
            }
            clock.jump(600_000);
            expect(step).toBeLessThan(200);
          }
          const rows = ledgerOf(bench.cells).filter((row) => row.seq % 2 === 1);
          expect(rows).toHaveLength(chats.length);
          for (const row of rows) {
            const keys = gateway.sent.filter(({ key }) => key.startsWith(`${SESSION}/${row.seq}/`)).map(({ key }) => key);
            expect(new Set(keys).size).toBe(keys.length); // no part twice
            if (row.state === 'delivered') expect(keys).toHaveLength(JSON.parse(row.part_ids).length);
            else expect(refused.has(row.idempotency_key)).toBe(true);
          }
          for (const chat of [0, 1, 2, 3]) {
            const order = gateway.sent.filter((one) => one.chat === `c${chat}`).map(({ key }) => key.split('/').slice(1).map(Number));
            const sorted = order.toSorted(([a = 0, p = 0], [b = 0, q = 0]) => a - b || p - q);
            expect(order).toEqual(sorted);
          }
          runner.close();
          await bench.close();
          remove(root);
        },
      ),
      { numRuns: 15 },
    );
  });
});
