// The API server's schema validation, in its words: the same sentence for the same mistake, so that a manifest that was tried on a laptop needs
// no second round in the cluster. CEL rules are in rules.ts.
import { type Failure, failure, goQuote } from './failure.ts';
import { below, identityOf, isObject, type Structural, same } from './structural.ts';

const typeOf = (value: unknown): string => {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
};
const fitsType = (type: string, actual: string): boolean => type === actual || (type === 'number' && actual === 'integer');

/** Code points, which the API server calls bytes here and chars there. */
const length = (text: string): number => [...text].length;

const isCalendarTime = (text: string): boolean => {
  const [, year, month, day, hour, minute, second] = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})/.exec(text)?.map(Number) ?? [];
  if (year === undefined || month === undefined || day === undefined) return false;
  const lastDay = new Date(Date.UTC(year, month, 0)).getUTCDate();
  return month >= 1 && month <= 12 && day >= 1 && day <= lastDay && (hour ?? 0) < 24 && (minute ?? 0) < 60 && (second ?? 0) < 60;
};

type Say = (type: Failure['type'], value: unknown, detail?: string) => void;

const intOrString = (schema: Structural, value: unknown, field: string, say: Say, out: Failure[]): void => {
  const type = typeOf(value);
  if (type !== 'integer' && type !== 'string') {
    say('FieldValueTypeInvalid', type, `${field} in body must be of type integer,string: ${JSON.stringify(type)}`);
    out.push(failure('<nil>', 'FieldValueInvalid', '', `${JSON.stringify(field)} must validate at least one schema (anyOf)`));
    say('FieldValueTypeInvalid', type, `${field} in body must be of type integer: ${JSON.stringify(type)}`);
  }
  scalar(schema, value, field, say);
};

const scalar = (schema: Structural, value: unknown, field: string, say: Say): void => {
  if (typeof value === 'string') {
    const size = length(value);
    const unmatched = [schema, ...(schema.allOf ?? [])].find(
      ({ pattern }) => pattern !== undefined && !new RegExp(pattern, 'u').test(value),
    );
    // The first of these hides the others.
    if (schema.maxLength !== undefined && size > schema.maxLength) {
      say('FieldValueTooLong', value, `may not be more than ${schema.maxLength} bytes`);
    } else if (schema.minLength !== undefined && size < schema.minLength) {
      say('FieldValueInvalid', value, `${field} in body should be at least ${schema.minLength} chars long`);
    } else if (unmatched !== undefined) {
      say('FieldValueInvalid', value, `${field} in body should match '${unmatched.pattern}'`);
    }
    if (schema.format === 'date-time' && !isCalendarTime(value)) {
      say('FieldValueTypeInvalid', value, `${field} in body must be of type date-time: ${goQuote(value)}`);
    }
  } else if (typeof value === 'number') {
    const { minimum, maximum } = schema;
    if (maximum !== undefined && value > maximum)
      say('FieldValueInvalid', value, `${field} in body should be less than or equal to ${maximum}`);
    if (minimum !== undefined && value < minimum)
      say('FieldValueInvalid', value, `${field} in body should be greater than or equal to ${minimum}`);
  }
  if (schema.enum !== undefined && !schema.enum.some((allowed) => allowed === value)) {
    say('FieldValueNotSupported', value, `supported values: ${schema.enum.map((allowed) => JSON.stringify(String(allowed))).join(', ')}`);
  }
};

const array = (schema: Structural, value: readonly unknown[], old: unknown, field: string, say: Say): Failure[] => {
  const { items, minItems, maxItems } = schema;
  if (maxItems !== undefined && value.length > maxItems) say('FieldValueTooMany', value.length, `must have at most ${maxItems} items`);
  if (minItems !== undefined && value.length < minItems)
    say('FieldValueInvalid', value.length, `${field} in body should have at least ${minItems} items`);
  if (items === undefined) return [];
  const earlier = pairing(schema, old);
  return value.flatMap((item, i) => validate(items, item, earlier(item), `${field}[${i}]`));
};

const object = (schema: Structural, value: Readonly<Record<string, unknown>>, old: unknown, field: string, say: Say): Failure[] => {
  const size = Object.keys(value).length;
  if (schema.maxProperties !== undefined && size > schema.maxProperties)
    say('FieldValueTooMany', size, `must have at most ${schema.maxProperties} items`);
  const missing = (schema.required ?? []).filter((key) => !Object.hasOwn(value, key));
  return [
    ...missing.map((key) => failure(`${field}.${key}`, 'FieldValueRequired', undefined)),
    ...Object.entries(value).flatMap(([key, child]) => {
      const next = below(schema, key);
      return next === undefined ? [] : validate(next, child, isObject(old) ? old[key] : undefined, `${field}.${key}`);
    }),
  ];
};

/** Finds the earlier version of a list item. Only items of a list map can be told apart; in other lists nothing has an earlier version. */
export const pairing = (schema: Structural, old: unknown): ((item: unknown) => unknown) => {
  const identity = identityOf(schema);
  if (identity === undefined || schema['x-kubernetes-list-type'] !== 'map' || !Array.isArray(old)) return () => undefined;
  const earlier = new Map(old.map((item): [string, unknown] => [identity(item), item]));
  return (item) => earlier.get(identity(item));
};

/**
 * What the schema finds wrong with a decoded value. A value that is as it was in `old` is not looked at, as on the API server: so an object
 * that was stored under a laxer schema can still be changed elsewhere.
 */
export const validate = (schema: Structural, value: unknown, old: unknown, field: string): Failure[] => {
  const out: Failure[] = [];
  const say: Say = (type, bad, detail) => {
    out.push(failure(field, type, bad, detail));
  };
  if (schema['x-kubernetes-int-or-string'] === true) intOrString(schema, value, field, say, out);
  else {
    const actual = typeOf(value);
    if (schema.format === 'date-time' && actual !== 'string') {
      // The API server does not look at a list here; the rule of time() refuses it.
      if (actual === 'array') return [];
      const shown = actual === 'integer' ? 'int64' : actual === 'number' ? 'float64' : '';
      say('FieldValueTypeInvalid', shown, `${field} in body must be of type date-time: ${JSON.stringify(shown)}`);
    } else if (schema.type !== undefined && !fitsType(schema.type, actual)) {
      say('FieldValueTypeInvalid', actual, `${field} in body must be of type ${schema.type}: ${JSON.stringify(actual)}`);
      scalar(schema, value, field, say);
    } else if (Array.isArray(value)) out.push(...array(schema, value, old, field, say));
    else if (isObject(value)) out.push(...object(schema, value, old, field, say));
    else scalar(schema, value, field, say);
  }
  return out.length > 0 && old !== undefined && same(schema, value, old) ? [] : out;
};

/** Repeated items of sets and list maps; each is named once, at its first repetition. */
export const duplicates = (schema: Structural, value: unknown, field: string): Failure[] => {
  if (Array.isArray(value)) {
    const { items } = schema;
    const identity = identityOf(schema);
    const keys = schema['x-kubernetes-list-map-keys'];
    const count = new Map<string, number>();
    const out: Failure[] = [];
    for (const [i, item] of value.entries()) {
      if (identity === undefined) break;
      if (keys !== undefined && item === null) continue;
      if (keys !== undefined && !isObject(item)) {
        out.push(failure(`${field}[${i}]`, 'FieldValueInvalid', item, 'must be an object for an array of list-type map'));
        break;
      }
      const id = identity(item);
      const times = (count.get(id) ?? 0) + 1;
      count.set(id, times);
      if (times !== 2) continue;
      const shown =
        keys !== undefined && isObject(item)
          ? Object.fromEntries(keys.filter((key) => item[key] !== undefined).map((key) => [key, item[key]]))
          : item;
      out.push(failure(`${field}[${i}]`, 'FieldValueDuplicate', shown));
    }
    return [...out, ...value.flatMap((item, i) => (items === undefined ? [] : duplicates(items, item, `${field}[${i}]`)))];
  }
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, child]) => {
    const next = below(schema, key);
    return next === undefined ? [] : duplicates(next, child, `${field}.${key}`);
  });
};
