import { inbox } from '@dovecote/proto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { type Bench, createBench, until } from './testing/delivery-bench.ts';

let bench: Bench | undefined;
afterEach(async () => {
  await bench?.close();
  bench = undefined;
});

describe('the path of a message', () => {
  test('a message wakes a session that sleeps, its answer is delivered, and the next one finds it awake', async () => {
    bench = await createBench();
    await bench.agent('helper');
    const first = await bench.enqueue({ eventId: 'e1', text: 'one' });
    expect(first.outcome).toBe(inbox.EnqueueOutcome.STORED);
    await until(() => bench?.delivered.length === 1, 'the first answer');
    await bench.enqueue({ eventId: 'e2', text: 'two' });
    await until(() => bench?.delivered.length === 2, 'the second answer');
    expect(bench.delivered.map(({ content }) => JSON.parse(content))).toEqual([{ text: 'echo one' }, { text: 'echo two' }]);
    expect((await bench.session(first.session))?.spec.awake).toBe(true);
  });
});
