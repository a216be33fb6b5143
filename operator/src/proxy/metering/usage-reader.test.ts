import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { UsageReader } from './usage-reader.ts';

const read = (type: string, chunks: readonly Uint8Array[], headers: object = {}) => {
  const reader = new UsageReader();
  reader.headers(200, { 'content-type': type, ...headers });
  for (const chunk of chunks) reader.chunk(Buffer.from(chunk));
  return reader.result();
};
const split = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const at = [0, ...[...cuts].map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
};
const event = (type: string, data: object, named = true): string =>
  `${named ? `event: ${type}\n` : ''}data: ${JSON.stringify({ type, ...data })}\n\n`;
const stream = (named: boolean): Buffer =>
  Buffer.from(
    event('message_start', { message: { model: 'm', usage: { input_tokens: 5, output_tokens: 1, cache_read_input_tokens: 2 } } }, named) +
      event('content_block_delta', { delta: { text: 'Grüße 🐦 event: message_stop' } }, named) +
      event('message_delta', { usage: { output_tokens: 40, input_tokens: null } }, named) +
      event('message_stop', {}, named),
  );

describe('what an answer cost', () => {
  test.each([true, false])('is the same however the stream is cut into pieces (events named: %s)', (named) => {
    const wanted = { tokens: { input: 5, output: 40, cacheRead: 2, cacheWrite: 0 }, model: 'm', complete: true, readable: true };
    fc.assert(
      fc.property(fc.array(fc.nat(2_000), { maxLength: 40 }), (cuts) => {
        expect(read('text/event-stream', split(stream(named), cuts))).toEqual(wanted);
      }),
    );
  });

  test('is never an error, and never a number that is none, whatever an upstream sends', () => {
    const count = fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(null), fc.constant({}), fc.constant(2 ** 60));
    const usage = fc.record({ input_tokens: count, output_tokens: count, cache_read_input_tokens: count }, { requiredKeys: [] });
    const line = fc.oneof(
      fc.string(),
      usage.map((one) => event('message_delta', { usage: one })),
      usage.map((one) => event('message_start', { message: { usage: one, model: one } })),
      fc.constantFrom(
        'event: message_start\ndata: null\n',
        'data: {"type":"message_start","message":7}\n',
        'event: __proto__\n',
        'data:\n',
      ),
    );
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('text/event-stream', 'application/json', 'text/html', ''), (lines, type) => {
        const { tokens } = read(type, [Buffer.from(lines.join('\n'))]);
        for (const value of Object.values(tokens)) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      }),
    );
  });

  test('is not guessed: what is compressed, of another kind, cut, or beyond all measure is said to be so', () => {
    expect(read('text/event-stream', [stream(true)], { 'content-encoding': 'gzip' })).toMatchObject({ complete: false, readable: false });
    expect(read('text/html', [stream(true)])).toMatchObject({ complete: false, readable: false });
    expect(read('application/json', [Buffer.from('{"usage":{"input_tok')])).toMatchObject({ complete: false, tokens: { input: 0 } });
    const long = Buffer.alloc(2 ** 20, 'x');
    const flood = Array.from({ length: 40 }, () => long);
    expect(read('application/json', flood)).toMatchObject({ complete: false });
    // One endless line is skipped, and what follows it is read.
    expect(read('text/event-stream', [...flood, Buffer.from('\n'), stream(true)])).toMatchObject({
      complete: true,
      tokens: { output: 40 },
    });
  });
});
