// zod, which the operator reads objects with, and admit(), which stands for the API server, must agree: what is stored must be readable, unchanged.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { schemaOf } from './crd.ts';
import { admit, kinds, parseSpec } from './index.ts';
import { specimen } from './specimen.ts';

describe.each(kinds.map((kind) => [kind.kind, kind] as const))('%s', (_name, kind) => {
  const spec = schemaOf(kind).properties?.['spec'] ?? {};
  test('what admit() stores, zod reads without a change', () => {
    let stored = 0;
    fc.assert(
      fc.property(specimen(spec), (written) => {
        const { object, failures } = admit(kind, { metadata: { name: 'x' }, spec: written });
        if (failures.length > 0) return;
        stored++;
        expect(parseSpec(kind, object['spec'])).toEqual(object['spec']);
        // Read from what was written, zod fills in the same defaults.
        if (!JSON.stringify(written).includes('null')) expect(parseSpec(kind, written)).toEqual(object['spec']);
      }),
      { numRuns: 1500, seed: 7 },
    );
    expect(stored).toBeGreaterThan(100);
  });
});
