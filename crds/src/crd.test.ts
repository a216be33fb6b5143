import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { lostRules, structural } from './crd.ts';
import { crd, kinds } from './index.ts';
import {
  byteSize,
  cel,
  dict,
  duration,
  freeform,
  frozen,
  list,
  listMap,
  notedRules,
  pattern,
  set,
  setOnce,
  text,
  time,
  union,
} from './schema.ts';

const field = (schema: z.ZodType) => z.object({ a: schema.describe('A field.') });
const build = (schema: z.ZodType) => structural(field(schema), 'spec');

describe('what has no place in a CRD fails with its path', () => {
  test.each<[string, z.ZodType, RegExp]>([
    ['a bare string', z.string(), /spec\.a: string without a length/],
    ['a length without a pattern', z.string().max(5), /a: a length counts UTF-16 units/],
    ['a bare list', z.array(text(5)), /spec\.a: list without a length/],
    ['a list without a type', z.array(text(5)).max(3), /spec\.a: list without a list type/],
    ['a set of objects', set(z.object({ b: text(5).describe('B.') }), 3), /spec\.a: set of objects/],
    ['a bare record', z.record(text(5), text(5)), /spec\.a: map without a size/],
    ['an enum-keyed record', z.record(z.enum(['a', 'b']), text(5)), /enum-keyed record/],
    ['a refinement', text(5).refine((s) => s !== 'x'), /refine\(\) is invisible/],
    ['a transform', text(5).transform((s) => s.length), /z\.(transform|pipe) has no CRD form/],
    ['a trim', z.string().trim().max(5), /trim\(\) and toLowerCase\(\) change the value/],
    ['null', text(5).nullable(), /z\.nullable has no CRD form/],
    ['a union', z.union([text(5), z.boolean()]), /anyOf is only for int-or-string/],
    ['a discriminated union', z.discriminatedUnion('t', [z.object({ t: z.literal('a') })]), /use union\(\)|keyword oneOf/],
    ['a tuple', z.tuple([text(5)]), /z\.tuple has no CRD form/],
    ['a date', z.date(), /z\.date has no CRD form/],
    ['a bigint', z.bigint(), /z\.bigint has no CRD form/],
    ['anything', z.unknown(), /spec\.a: no type/],
    ['a fallback', text(5).catch('x'), /z\.catch has no CRD form/],
    ['an intersection', z.intersection(z.object({}), z.object({})), /z\.intersection has no CRD form/],
    ['an optional default', text(5).default('x').optional(), /optional\(\) around a default/],
    ['a format', z.email(), /format email|without a length/],
    ['an URL', z.url(), /format uri|without a length/],
    ['a time without a rule', z.iso.datetime({ offset: true }), /use time\(\)/],
    ['flags', z.string().regex(/x/i).max(5), /flags of \/x\/i are lost/],
    ['look-ahead', pattern(/^(?=x)/, 5), /pattern is not RE2 at \(\?=/],
    ['a back-reference', pattern(/(a)\1/, 5), /pattern is not RE2 at \\1/],
    ['a dot, which differs in CR', pattern(/^.$/, 5), /pattern is not RE2 at \./],
    ['\\s, which differs in U+00A0', pattern(/^\s$/, 5), /pattern is not RE2 at \\s/],
    ['a count over 1000', pattern(/^a{1001}$/, 5), /pattern is not RE2 at \{1001\}/],
    ['a rule with look-ahead', cel(text(5), { rule: "self.matches('(?!x)')", message: 'no' }), /matches\(\) is not RE2/],
    ['a rule without a message', cel(text(5), { rule: 'true', message: '' }), /rule without message/],
    ['a message of two lines', cel(text(5), { rule: 'true', message: 'a\nb' }), /message with a line break/],
    ['an undescribed field', z.object({ b: text(5) }), /spec\.a: field b has no describe\(\)/],
    ['a reserved name', z.object({ namespace: text(5).describe('N.') }), /field namespace is a reserved word of CEL/],
    ['an optional list-map key', listMap(z.object({ k: text(5).optional().describe('K.') }), ['k'], 3), /list-map key k must be required/],
  ])('%s', (_name, schema, message) => {
    expect(() => build(schema)).toThrow(message);
  });
});

describe('what the helpers become', () => {
  test('text counts code points here as there', () => {
    expect(text(2).safeParse('😀😀').success).toBe(true);
    expect(text(2).safeParse('abc').success).toBe(false);
    expect(text(2, 1).safeParse('').success).toBe(false);
    expect(build(text(2, 1)).properties?.['a']).toMatchObject({ type: 'string', minLength: 1, maxLength: 2 });
  });
  test('a map has a rule for its keys', () => {
    const rules = build(dict(pattern(/^[a-z]+$/, 5), text(5), 3)).properties?.['a']?.['x-kubernetes-validations'];
    expect(rules).toEqual([
      {
        rule: 'self.all(k, size(k) >= 1 && size(k) <= 5 && k.matches("^[a-z]+$"))',
        message: 'keys must have 1 to 5 characters and match ^[a-z]+$',
      },
    ]);
  });
  test('a default of an object is complete', () => {
    const block = z.object({ n: z.int32().min(0).max(9).default(3).describe('N.'), t: text(5).optional().describe('T.') });
    expect(build(block.prefault({})).properties?.['a']?.default).toEqual({ n: 3 });
  });
  test('integers keep the bounds within which JavaScript is exact', () => {
    expect(build(z.int()).properties?.['a']).toMatchObject({ format: 'int64', maximum: Number.MAX_SAFE_INTEGER });
    expect(build(z.int32()).properties?.['a']).toMatchObject({ format: 'int32' });
  });
  test('a size is an integer or text', () => {
    expect(build(byteSize()).properties?.['a']).toMatchObject({
      'x-kubernetes-int-or-string': true,
      anyOf: [{ type: 'integer' }, { type: 'string' }],
    });
    expect(build(byteSize()).properties?.['a']).not.toHaveProperty('type');
  });
  test('a payload is stored as it is', () => {
    expect(build(freeform()).properties?.['a']).toMatchObject({ type: 'object', 'x-kubernetes-preserve-unknown-fields': true });
  });
  test('an ordered list is atomic', () => {
    expect(build(list(text(5), 3)).properties?.['a']).toMatchObject({ 'x-kubernetes-list-type': 'atomic' });
  });
  test('frozen and setOnce differ in what may be added later', () => {
    const block = () => z.object({ b: text(5).optional().describe('B.') });
    expect(build(frozen(block(), 'b')).properties?.['a']?.['x-kubernetes-validations']?.[0]?.rule).toBe(
      'has(self.b) == has(oldSelf.b) && (!has(self.b) || self.b == oldSelf.b)',
    );
    expect(build(setOnce(block(), 'b')).properties?.['a']?.['x-kubernetes-validations']?.[0]?.rule).toBe(
      '!has(oldSelf.b) || (has(self.b) && self.b == oldSelf.b)',
    );
  });
  test('describe, optional, default and min keep rules', () => {
    expect(build(duration().optional()).properties?.['a']?.['x-kubernetes-validations']).toHaveLength(1);
    expect(build(duration().default('1s')).properties?.['a']?.['x-kubernetes-validations']).toHaveLength(1);
    expect(build(time()).properties?.['a']?.['x-kubernetes-validations']).toHaveLength(1);
  });
  test('a rule that extend() loses is found', () => {
    const before = new Set(notedRules);
    const base = union(z.object({ type: z.enum(['b']).describe('T.'), b: z.object({}).optional().describe('B.') }), 'type', ['b']);
    base.extend({ c: text(5).optional() });
    const lost = lostRules(kinds);
    for (const rule of notedRules) if (!before.has(rule)) notedRules.delete(rule);
    expect(lost.map((rule) => rule.fieldPath)).toContain('.b');
  });
});

describe('the CRDs', () => {
  test('have names, columns and selectors that the API server takes', () => {
    const short = kinds.flatMap((kind) => kind.shortNames);
    expect(new Set(short).size).toBe(short.length);
    for (const kind of kinds) {
      const { names, versions } = crd(kind).spec;
      expect(names.categories).toEqual(['dovecote']);
      expect(versions[0]?.additionalPrinterColumns.map((c) => c.name)).toEqual([...kind.columns.map(([heading]) => heading), 'Age']);
      expect(kind.selectable.length).toBeLessThanOrEqual(8);
    }
  });
});
