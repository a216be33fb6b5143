// Random objects for the property tests of this folder: of agreement.test.ts here, of ../differential.ts against a real API server.
import fc from 'fast-check';
import type { Structural } from './structural.ts';

const WRONG = fc.constantFrom<unknown>(
  '',
  'Bad Name!',
  '😀'.repeat(70),
  '1h',
  '90000ms',
  'https://x/y',
  '(a',
  'anthropic',
  0,
  -1,
  1.5,
  2 ** 53,
  true,
  null,
  [],
  {},
  ['a', 'a'],
  { a: 'b' },
);
const WORDS = ['a', 'x1', 'triage', 'K', '😀😀', '/p', '7', '0.25'];
const URLS = ['https://x/y', 'http://[::1]:1'];
const wordsFor = (field: string): string[] => {
  if (/time(out)?$/i.test(field)) return ['5m', '1h30m', '90s'];
  if (/url$/i.test(field)) return URLS;
  return field === 'pattern' ? ['deploy', '(?i)a+', '(a', 'a)', '[z-a]', 'a{3,1}', '(?=a)'] : WORDS;
};

/** Values that mostly fit a schema; a few are wrong somewhere. For property tests. */
export const specimen = (schema: Structural, field = ''): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 60, arbitrary: right(schema, field) }, { weight: 1, arbitrary: WRONG });
const right = (schema: Structural, field: string): fc.Arbitrary<unknown> => {
  const { enum: words, items, additionalProperties, properties = {}, required = [] } = schema;
  if (schema['x-kubernetes-int-or-string'] === true) return fc.constantFrom<unknown>(1, '1Gi', '100M');
  if (words !== undefined) return fc.constantFrom<unknown>(...words);
  if (schema.type === 'boolean') return fc.boolean();
  if (schema.type === 'integer') return fc.integer({ min: Math.max(schema.minimum ?? 0, -5), max: Math.min(schema.maximum ?? 9, 9) });
  if (schema.format === 'date-time') return fc.constantFrom('2027-01-01T00:00:00Z', '2027-01-01T00:00:00.5+02:00', '1969-01-01T00:00:00Z');
  if (schema.type === 'string') {
    const { pattern } = schema;
    return fc.constantFrom(...wordsFor(field).filter((word) => pattern === undefined || new RegExp(pattern, 'u').test(word)));
  }
  if (items !== undefined) return fc.array(specimen(items), { maxLength: 2 });
  if (additionalProperties !== undefined)
    return fc.dictionary(fc.constantFrom('a', 'b', 'a b'), specimen(additionalProperties), { maxKeys: 2 });
  const tags = (properties['type']?.enum ?? []).map(String).filter((tag) => properties[tag] !== undefined);
  const record = (tag: string | undefined): fc.Arbitrary<Record<string, unknown>> =>
    fc.record(
      Object.fromEntries(
        Object.entries(properties)
          .filter(([key]) => key === tag || !tags.includes(key))
          .map(([key, child]) => [key, key === 'type' && tag !== undefined ? fc.constant(tag) : specimen(child, key)]),
      ),
      { requiredKeys: [...required, ...(tag === undefined ? [] : [tag])] },
    );
  const fitting = tags.length === 0 ? record(undefined) : fc.constantFrom(...tags).chain(record);
  return fc.oneof(
    { weight: 60, arbitrary: fitting },
    { weight: 1, arbitrary: fitting.map((value) => ({ ...value, unheardOf: 1 })) },
    { weight: 1, arbitrary: fitting.map((value) => Object.fromEntries(Object.entries(value).slice(1))) },
  );
};
