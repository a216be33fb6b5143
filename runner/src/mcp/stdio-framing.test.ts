import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { frame, LineReader, LineTooLongError } from './stdio-framing.ts';

const read = (chunks: readonly Buffer[], maxBytes = 1_000_000): string[] => {
  const reader = new LineReader(maxBytes);
  return chunks.flatMap((chunk) => [...reader.push(chunk)].map((line) => line.toString()));
};

describe('the frames of MCP over stdio', () => {
  test('come back as they were sent, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 8 }), fc.array(fc.nat(40), { maxLength: 30 }), (messages, cuts) => {
        const bytes = Buffer.from(messages.map(frame).join(''));
        const chunks: Buffer[] = [];
        let from = 0;
        for (const length of cuts) {
          chunks.push(bytes.subarray(from, from + length));
          from += length;
        }
        chunks.push(bytes.subarray(from));
        expect(read(chunks).map((line) => JSON.parse(line))).toEqual(messages.map((value) => JSON.parse(JSON.stringify(value))));
      }),
    );
  });

  test('may end as on Windows, and empty lines between them are nothing', () => {
    expect(read([Buffer.from('{"a":1}\r\n\n\r\n{"b":2}\r'), Buffer.from('\n{"c"')])).toEqual(['{"a":1}', '{"b":2}']);
  });

  test('longer than allowed are refused without being kept, at once or piece by piece', () => {
    expect(read([Buffer.from(`${'x'.repeat(10)}\n`)], 10)).toEqual(['x'.repeat(10)]);
    expect(() => read([Buffer.from(`${'x'.repeat(11)}\n`)], 10)).toThrow(LineTooLongError);
    expect(() =>
      read(
        Array.from({ length: 4 }, () => Buffer.from('xxx')),
        10,
      ),
    ).toThrow('a line is longer than 10 bytes');
  });

  test('before a line that is too long are still read', () => {
    const reader = new LineReader(10);
    const lines: string[] = [];
    expect(() => {
      for (const line of reader.push(Buffer.from(`{"a":1}\n${'x'.repeat(11)}`))) lines.push(line.toString());
    }).toThrow(LineTooLongError);
    expect(lines).toEqual(['{"a":1}']);
  });
});
