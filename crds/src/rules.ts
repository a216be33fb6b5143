// x-kubernetes-validations without an API server: the CEL rules of a schema, run by cel-js on a decoded value.
import { Environment, EvaluationError, Optional } from '@marcbachmann/cel-js';
import { type Failure, type FailureType, failure } from './failure.ts';
import { compileRE2, re2Problem } from './re2.ts';
import type { Rule } from './schema.ts';
import { below, identityOf, isObject, type JsonObject, type Structural, same } from './structural.ts';
import { pairing } from './validate.ts';

const environment = new Environment({ unlistedVariablesAreDyn: true, enableOptionalTypes: true, homogeneousAggregateLiterals: false });
// cel-js compiles a regular expression as JavaScript has it, and does not let its own matches() be replaced: rules call this one instead.
environment.registerFunction('string.matchesRE2(string): bool', (text: string, expression: string) => {
  const problem = re2Problem(expression);
  if (problem !== undefined) throw new EvaluationError(problem);
  return compileRE2(expression).test(text);
});

type Program = (variables: JsonObject) => unknown;
const programs = new Map<string, Program>();
const run = (expression: string, variables: JsonObject): unknown => {
  let program = programs.get(expression);
  if (program === undefined) {
    program = environment.parse(expression.replaceAll('.matches(', '.matchesRE2('));
    programs.set(expression, program);
  }
  return program(variables);
};

/** JSON to CEL values, by schema: an integer is an int and not a double, a date-time a timestamp, and sets and list maps compare without order. */
const toCel = (schema: Structural, value: unknown): unknown => {
  if (value === undefined || value === null || schema['x-kubernetes-preserve-unknown-fields'] === true) return value;
  if (schema['x-kubernetes-int-or-string'] === true || schema.type === 'integer')
    return Number.isInteger(value) ? BigInt(value as number) : value;
  if (schema.format === 'date-time' && typeof value === 'string') return new Date(value);
  if (Array.isArray(value)) {
    const identity = identityOf(schema);
    const items = identity === undefined ? value : value.toSorted((a, b) => (identity(a) < identity(b) ? -1 : 1));
    return items.map((item) => toCel(schema.items ?? {}, item));
  }
  if (isObject(value))
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, toCel(below(schema, key) ?? {}, child)]));
  return value;
};

const check = (schema: Structural, rule: Rule, value: unknown, old: unknown, field: string): Failure[] => {
  if (schema.format === 'date-time' && Array.isArray(value)) {
    return [
      failure(field, 'FieldValueInvalid', 'string', `invalid data, expected string, got []interface {} evaluating rule: ${rule.message}`),
    ];
  }
  const transition = /\boldSelf\b/.test(rule.rule);
  if (transition && old === undefined && rule.optionalOldSelf !== true) return [];
  const before = toCel(schema, old);
  const variables: JsonObject = { self: toCel(schema, value) };
  if (transition)
    variables['oldSelf'] = rule.optionalOldSelf !== true ? before : before === undefined ? Optional.none() : Optional.of(before);

  let message = rule.message;
  let type: FailureType = rule.reason ?? 'FieldValueInvalid';
  let path = field + (rule.fieldPath ?? '');
  try {
    if (run(rule.rule, variables) === true) return [];
    try {
      if (rule.messageExpression !== undefined) message = String(run(rule.messageExpression, variables));
    } catch {
      // The static message stands in, as on the API server.
    }
  } catch (error) {
    if (!(error instanceof EvaluationError)) throw new Error(`cannot evaluate the rule of ${field}: ${rule.rule}`, { cause: error });
    message = `${error.summary} evaluating rule: ${message}`;
    type = 'FieldValueInvalid';
    path = field;
  }
  // A value that is as it was is not refused, unless the rule is about the change.
  if (!transition && old !== undefined && same(schema, value, old)) return [];
  return [failure(path, type, schema.type ?? '', message)];
};

/** What the rules of a schema find wrong with a decoded and validated value. `old` is the value before an update, undefined on creation. */
export const checkRules = (schema: Structural, value: unknown, old: unknown, field: string): Failure[] => {
  const own = (schema['x-kubernetes-validations'] ?? []).flatMap((rule) => check(schema, rule, value, old, field));
  if (Array.isArray(value)) {
    const { items } = schema;
    const earlier = pairing(schema, old);
    return [...own, ...value.flatMap((item, i) => (items === undefined ? [] : checkRules(items, item, earlier(item), `${field}[${i}]`)))];
  }
  if (!isObject(value)) return own;
  const children = Object.entries(value).flatMap(([key, child]) => {
    const next = below(schema, key);
    const path = schema.properties?.[key] === undefined ? `${field}[${key}]` : `${field}.${key}`;
    return next === undefined ? [] : checkRules(next, child, isObject(old) ? old[key] : undefined, path);
  });
  return [...own, ...children];
};
