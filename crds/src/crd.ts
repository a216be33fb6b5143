// zod -> CustomResourceDefinition. What the API server would refuse, or would accept and read differently from zod, fails here with its path.
import { z } from 'zod';
import { type Column, GROUP, type Kind, VERSION } from './kind.ts';
import { notRE2 } from './re2.ts';
import { counted, notedRules, type Rule } from './schema.ts';
import { isObject, type JsonObject, type Structural } from './structural.ts';

/** zod types with no form in a CRD. After a transform, for one, the parsed value would not be the stored one. */
const BANNED = new Set(
  (
    'transform pipe catch date bigint symbol undefined void null nullable never nan map set file tuple lazy promise function custom ' +
    'intersection readonly success'
  ).split(' '),
);
/** Keywords that the API server refuses or ignores. */
const DROP = [
  '$schema',
  'id',
  'title',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  'contentEncoding',
  'contentMediaType',
  'propertyNames',
];
/** zod's own pattern has 300 characters and the user would see it; the calendar is checked by the format. */
const RFC3339 = '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$';

interface Check {
  check?: string;
  pattern?: RegExp;
}
/** The parts of a zod definition that are looked at here. */
interface Definition extends Check {
  type: string;
  checks?: readonly { _zod: { def: Check } }[];
  keyType?: z.core.$ZodType;
  innerType?: z.core.$ZodType;
}

interface Node {
  zodSchema: z.core.$ZodTypes;
  jsonSchema: z.core.JSONSchema.BaseSchema;
  path: (string | number)[];
}

/** JSON schema of the API server has no propertyNames: the bounds of a map's keys become a rule. */
const keyRule = (keyType: z.core.$ZodType): Rule | undefined => {
  const key = z.toJSONSchema(keyType, { target: 'openapi-3.0', io: 'input', override });
  const guards = [
    ...(typeof key.minLength === 'number' ? [`size(k) >= ${key.minLength}`] : []),
    ...(typeof key.maxLength === 'number' ? [`size(k) <= ${key.maxLength}`] : []),
    ...(typeof key.pattern === 'string' ? [`k.matches(${JSON.stringify(key.pattern)})`] : []),
  ];
  if (guards.length === 0) return undefined;
  const form = typeof key.pattern === 'string' ? ` and match ${key.pattern}` : '';
  return {
    rule: `self.all(k, ${guards.join(' && ')})`,
    message: `keys must have ${key.minLength ?? 0} to ${key.maxLength ?? 'any number of'} characters${form}`,
  };
};

/**
 * Corrects what zod emits, node by node. zod calls it for every link of a chain (z.string(), .regex(), .meta() are nodes of their own) and for
 * wrappers, so it is idempotent and demands nothing that a later link may add: demands on the finished tree are lint()'s.
 */
function override({ zodSchema, jsonSchema, path }: Node): void {
  const schema: JsonObject = jsonSchema;
  const definition = zodSchema._zod.def as unknown as Definition;
  const fail = (why: string): never => {
    throw new Error(`${path.filter((step) => step !== 'properties').join('.')}: ${why}`);
  };
  if (BANNED.has(definition.type)) fail(`z.${definition.type} has no CRD form`);
  for (const check of definition.checks ?? []) {
    if (check._zod.def.check === 'custom' && !counted.has(check))
      fail('refine() is invisible to the API server: write the rule with cel()');
  }
  for (const check of [definition, ...(definition.checks ?? []).map((c) => c._zod.def)]) {
    if (check.check === 'overwrite') fail('trim() and toLowerCase() change the value: use a pattern');
    if (check.pattern instanceof RegExp && /[^u]/.test(check.pattern.flags)) fail(`flags of ${check.pattern} are lost in a CRD`);
    const length = /^(max|min)_length$|^length_equals$/.test(check.check ?? '');
    if (length && schema['type'] === 'string' && schema['pattern'] === undefined) {
      fail('a length counts UTF-16 units here and characters there: use text() or pattern()');
    }
  }
  for (const keyword of DROP) delete schema[keyword];
  // properties and additionalProperties exclude each other. Pruning and strict field validation do the work.
  if (schema['properties'] !== undefined && 'additionalProperties' in schema) {
    const loose = schema['additionalProperties'] !== false;
    delete schema['additionalProperties'];
    if (loose) schema['x-kubernetes-preserve-unknown-fields'] = true;
  }
  if (isObject(schema['properties']) && Object.keys(schema['properties']).length === 0) delete schema['properties'];
  if (definition.type === 'record') {
    if (schema['required'] !== undefined) fail('an enum-keyed record: use an object with optional fields');
    const rule = definition.keyType === undefined ? undefined : keyRule(definition.keyType);
    const rules = (schema['x-kubernetes-validations'] ?? []) as Rule[];
    if (rule !== undefined && !rules.some((r) => r.rule === rule.rule)) schema['x-kubernetes-validations'] = [...rules, rule];
  }
  if (schema['x-kubernetes-int-or-string'] === true) {
    delete schema['type'];
    schema['anyOf'] = [{ type: 'integer' }, { type: 'string' }];
  }
  for (const branch of (schema['allOf'] ?? []) as JsonObject[]) delete branch['type'];
  // The safe-integer bounds stay: without them the API server stores integers that JavaScript rounds.
  if (schema['type'] === 'integer') {
    schema['format'] = Number(schema['minimum']) >= -(2 ** 31) && Number(schema['maximum']) < 2 ** 31 ? 'int32' : 'int64';
  }
  // Go reads uri, email and other formats more leniently than zod, so an object could be stored that zod cannot read.
  if (schema['format'] === 'date-time') schema['pattern'] = RFC3339;
  else if (schema['type'] === 'string' && schema['format'] !== undefined)
    fail(`format ${schema['format']}: Go and zod disagree on it, use a pattern`);
  // The API server validates a default as it stands, before it fills in the defaults inside it.
  if (definition.type === 'default' || definition.type === 'prefault') schema['default'] = z.parse(zodSchema, undefined);
  const inner = definition.innerType === undefined ? undefined : (definition.innerType._zod.def as unknown as Definition).type;
  if (definition.type === 'optional' && (inner === 'default' || inner === 'prefault'))
    fail('optional() around a default: zod would leave out what the API server fills in');
}

const ALLOWED = new Set(
  (
    'type format description default enum pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems ' +
    'minProperties maxProperties properties required items additionalProperties anyOf allOf x-kubernetes-validations x-kubernetes-list-type ' +
    'x-kubernetes-list-map-keys x-kubernetes-int-or-string x-kubernetes-preserve-unknown-fields'
  ).split(' '),
);
/** Names of fields that CEL reserves: a rule would have to write them escaped, and cel-js does not know the escapes. */
const RESERVED = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(' '),
);

const lintRule = (rule: Rule): string[] => [
  ...(rule.message === '' ? [`rule without message: ${rule.rule}`] : []),
  ...(/[\r\n]/.test(rule.message) ? ['message with a line break'] : []),
  ...[...rule.rule.matchAll(/matches\((?:'([^']*)'|("(?:[^"\\]|\\.)*"))\)/g)].flatMap(([, single, double]) => {
    const bad = notRE2(double === undefined ? (single ?? '') : (JSON.parse(double) as string));
    return bad === undefined ? [] : [`matches() is not RE2 at ${bad}: ${rule.rule}`];
  }),
];

/** What is wrong with a finished tree: every node typed and described, every string, list and map bounded (the cost of rules is estimated from bounds). */
const lint = (schema: Structural, path: string): string[] => {
  const intOrString = schema['x-kubernetes-int-or-string'] === true;
  const list = schema['x-kubernetes-list-type'];
  const found: string[] = [];
  const says = (wrong: boolean, why: string): void => {
    if (wrong) found.push(`${path}: ${why}`);
  };
  for (const keyword of Object.keys(schema)) says(!ALLOWED.has(keyword), `keyword ${keyword}`);
  says(schema.type === undefined && !intOrString, 'no type: a union is not structural, use union()');
  says(schema.anyOf !== undefined && !intOrString, 'anyOf is only for int-or-string');
  says(
    schema.type === 'string' && schema.maxLength === undefined && schema.enum === undefined && schema.format !== 'date-time',
    'string without a length',
  );
  says(schema.type === 'array' && schema.maxItems === undefined, 'list without a length');
  says(schema.type === 'array' && list === undefined, 'list without a list type: use listMap(), set() or list()');
  says(schema.type === 'array' && schema.items?.type === 'object' && list === 'set', 'set of objects: use listMap()');
  says(schema.additionalProperties !== undefined && schema.maxProperties === undefined, 'map without a size: use dict()');
  if (schema.format === 'date-time')
    says((schema['x-kubernetes-validations'] ?? []).length === 0, 'date-time without a rule would accept a list: use time()');
  for (const key of schema['x-kubernetes-list-map-keys'] ?? []) {
    const known = schema.items?.required?.includes(key) === true || schema.items?.properties?.[key]?.default !== undefined;
    says(!known, `list-map key ${key} must be required or have a default`);
  }
  if (schema.pattern !== undefined) {
    const bad = notRE2(schema.pattern);
    says(bad !== undefined, `pattern is not RE2 at ${bad}: ${schema.pattern}`);
  }
  for (const rule of schema['x-kubernetes-validations'] ?? []) for (const why of lintRule(rule)) says(true, why);
  for (const [field, child] of Object.entries(schema.properties ?? {})) {
    says(RESERVED.has(field), `field ${field} is a reserved word of CEL`);
    says(child.description === undefined, `field ${field} has no describe()`);
    says(child.default !== undefined && schema.required?.includes(field) === true, `field ${field} is required and has a default`);
    found.push(...lint(child, `${path}.${field}`));
  }
  if (schema.items !== undefined) found.push(...lint(schema.items, `${path}[]`));
  if (schema.additionalProperties !== undefined) found.push(...lint(schema.additionalProperties, `${path}{}`));
  return found;
};

/** The structural schema of a zod schema. Throws an Error with one line for each thing that has no place in a CRD. */
export const structural = (schema: z.ZodType, path: string): Structural => {
  const tree = {
    ...z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', unrepresentable: 'any', override }),
  } as unknown as Structural;
  const wrong = lint(tree, path);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  return tree;
};

const built = new WeakMap<Kind, Structural>();

/** The schema of whole objects of a kind, as the API server holds it. Built once per kind. */
export const schemaOf = (kind: Kind): Structural => {
  const known = built.get(kind);
  if (known !== undefined) return known;
  const schema: Structural = {
    type: 'object',
    description: kind.description,
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: kind.nameMax } } },
      spec: { ...structural(kind.spec, 'spec'), description: 'What is wanted.' },
      status: { ...structural(kind.status, 'status'), description: 'What is.' },
    },
  };
  built.set(kind, schema);
  return schema;
};

const rulesIn = (schema: Structural): Rule[] => [
  ...(schema['x-kubernetes-validations'] ?? []),
  ...Object.values(schema.properties ?? {}).flatMap(rulesIn),
  ...[schema.items, schema.additionalProperties].flatMap((child) => (child === undefined ? [] : rulesIn(child))),
];

/** The rules that were attached with cel() and have not reached the CRD of any of `kinds`: zod's .extend() and the like lose them silently. */
export const lostRules = (kinds: readonly Kind[]): Rule[] => {
  const reached = new Set(kinds.flatMap((kind) => rulesIn(schemaOf(kind))).map((rule) => JSON.stringify(rule)));
  return [...notedRules].filter((rule) => !reached.has(JSON.stringify(rule)));
};

const column = ([name, type, jsonPath, priority = 0]: Column) => ({ name, type, jsonPath, ...(priority > 0 ? { priority } : {}) });

/** The CustomResourceDefinition of a kind. Throws when the kind says something that a CRD cannot. */
export const crd = (kind: Kind) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${kind.plural}.${GROUP}` },
  spec: {
    group: GROUP,
    scope: 'Namespaced',
    names: {
      kind: kind.kind,
      listKind: `${kind.kind}List`,
      plural: kind.plural,
      singular: kind.kind.toLowerCase(),
      shortNames: [...kind.shortNames],
      categories: ['dovecote'],
    },
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [...kind.columns, ['Age', 'date', '.metadata.creationTimestamp'] as const].map(column),
        ...(kind.selectable.length > 0 ? { selectableFields: kind.selectable.map((jsonPath) => ({ jsonPath })) } : {}),
        schema: { openAPIV3Schema: schemaOf(kind) },
      },
    ],
  },
});
