import { describe, expect, test } from '@jest/globals';
import { schemaOf } from './crd.ts';
import { admit, admitStatus, type Failure, invalidMessage, type Kind, kinds } from './index.ts';
import { type AdmittedCase, admitted, refused, sortedLines } from './messages.golden.ts';
import type { Rule } from './schema.ts';
import { below, isObject, type Structural } from './structural.ts';

const kindNamed = (name: string): Kind => {
  const kind = kinds.find((k) => k.kind === name);
  if (kind === undefined) throw new Error(`no kind ${name}`);
  return kind;
};
const run = (of: AdmittedCase): Failure[] => {
  const kind = kindNamed(of.kind);
  const old = of.old === undefined ? undefined : admit(kind, of.old).object;
  return (of.subresource === 'status' ? admitStatus(kind, of.object, old ?? {}) : admit(kind, of.object, old)).failures;
};

describe('admit() says what kubectl prints when the API server refuses', () => {
  test.each(refused.map((of) => [of.kind, of.name, of] as const))('%s: %s', (_kind, _name, of) => {
    const { name } = of.object['metadata'] as { name: string };
    expect(sortedLines(invalidMessage(kindNamed(of.kind), name, run(of)))).toBe(sortedLines(of.message));
  });
});

describe('admit() takes what the API server takes', () => {
  test.each(admitted.map((of) => [of.kind, of.name, of] as const))('%s: %s', (_kind, _name, of) => {
    expect(run(of)).toEqual([]);
  });
});

/** The rules of a schema, with the fields they are on; list items are `[]`. */
const rulesIn = (schema: Structural, field: string): [field: string, rule: Rule][] => [
  ...(schema['x-kubernetes-validations'] ?? []).map((rule): [string, Rule] => [field, rule]),
  ...Object.entries(schema.properties ?? {}).flatMap(([key, child]) => rulesIn(child, `${field}.${key}`)),
  ...(schema.items === undefined ? [] : rulesIn(schema.items, `${field}[]`)),
];

/** Every value of an object at a field such as spec.agents[].engage. */
const valuesAt = (value: unknown, field: string): unknown[] => {
  const [, key = '', list, rest = ''] = /^\.?([^.[]*)((?:\[\])?)(.*)$/.exec(field) ?? [];
  const child = isObject(value) ? value[key] : undefined;
  const found = list === '' ? [child] : Array.isArray(child) ? child : [];
  return rest === '' ? found.filter((v) => v !== undefined) : found.flatMap((v) => valuesAt(v, rest));
};

describe('every rule has an object that breaks it and one that keeps it', () => {
  const rules = kinds.flatMap((kind) =>
    (['spec', 'status'] as const).flatMap((part) =>
      rulesIn(below(schemaOf(kind), part) ?? {}, part).map(
        ([field, rule]) => [kind.kind, field + (rule.fieldPath ?? ''), rule.message, field, rule] as const,
      ),
    ),
  );
  test.each(rules)('%s %s: %s', (kind, told, message, field, rule) => {
    const breaks = refused
      .filter((of) => of.kind === kind)
      .flatMap(run)
      .some((failure) => failure.field.replace(/\[[0-9]+\]/g, '[]') === told && failure.message.includes(message));
    expect(breaks).toBe(true);
    const needsOld = rule.rule.includes('oldSelf');
    const keeps = admitted
      .filter((of) => of.kind === kind)
      .some((of) =>
        valuesAt(admit(kindNamed(kind), of.object).object, field).length > 0 || valuesAt(of.object, field).length > 0
          ? !needsOld || valuesAt(of.old, field).length > 0
          : false,
      );
    expect(keeps).toBe(true);
  });
});
