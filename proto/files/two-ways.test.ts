import { PassThrough } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { describe, expect, test } from '@jest/globals';
import { CallOverError, twoWays } from './two-ways.ts';

interface Message {
  readonly n: number;
}

const ending = new AbortController();
function start(): { readonly stream: PassThrough; readonly ways: ReturnType<typeof twoWays<Message, Message>> } {
  const stream = new PassThrough({ objectMode: true, highWaterMark: 4 });
  return { stream, ways: twoWays(stream as unknown as ServerDuplexStream<Message, Message>, ending.signal) };
}

describe('the two ways of a call', () => {
  test('hold none of the messages that were taken: a file of a gigabyte comes in sixteen thousand', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { stream, ways } = start();
    const sent: WeakRef<Message>[] = [];
    for (let n = 0; n < 100; n += 1) {
      stream.write({ n });
      const { value } = await ways.requests.next();
      expect(value?.n).toBe(n);
      sent.push(new WeakRef(value as Message));
    }
    await nextTurn();
    collect();
    expect(sent.filter((message) => message.deref() !== undefined).length).toBeLessThan(5);
  });

  test('end for whoever waits when the caller leaves, and at once for whoever asks later', async () => {
    const { stream, ways } = start();
    const waiting = ways.requests.next();
    stream.emit('cancelled');
    await expect(waiting).rejects.toThrow(new CallOverError('the caller has left'));
    await expect(ways.requests.next()).rejects.toThrow(CallOverError);
    expect(ways.gone.aborted).toBe(true);
  });
});
