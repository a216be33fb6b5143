import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sessionName } from '../../lib/session-name.ts';
import { decodeButton, encodeButton } from './button.ts';

const session = fc
  .tuple(fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/), fc.uuid(), fc.string())
  .map(([agent, uid, scope]) => sessionName(agent, uid, scope, 1));

describe('what a button carries', () => {
  test('comes back as it was, within the 64 bytes that Telegram takes, for every session and a billion messages', () => {
    const pointer = fc.record({
      session,
      questionSeq: fc.integer({ min: 1, max: 1_000_000_000 }),
      option: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(pointer, (given) => {
        const data = encodeButton(given);
        expect(Buffer.byteLength(data ?? '')).toBeLessThanOrEqual(64);
        expect(decodeButton(data ?? '')).toEqual(given);
      }),
    );
  });

  test('is left out when it does not fit', () => {
    expect(encodeButton({ session: 'a'.repeat(51), questionSeq: Number.MAX_SAFE_INTEGER, option: 49 })).toBeUndefined();
  });

  test('is not read into anything that is not a pointer of ours', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^q:[0-9a-z:./]{0,70}$/)), (data) => {
        const read = decodeButton(data);
        if (read === undefined) return;
        expect(read.session).toMatch(/^[a-z0-9][-a-z0-9]*$/);
        expect(Number.isSafeInteger(read.questionSeq) && read.option >= 0).toBe(true);
      }),
    );
    for (const data of ['', 'q:', 'q:1:0:', 'q:1:0:../../etc', 'q:1:0:A', 'q:zzzzzzzzzzz:0:a', `q:1:0:${'a'.repeat(70)}`])
      expect(decodeButton(data)).toBeUndefined();
  });
});
