// The structural schema: the part of JSON schema that a CustomResourceDefinition may hold, as a type.
import type { Rule } from './schema.ts';

export interface Structural {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  format?: 'int32' | 'int64' | 'date-time';
  description?: string;
  default?: unknown;
  enum?: readonly (string | number | boolean)[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minItems?: number;
  maxItems?: number;
  minProperties?: number;
  maxProperties?: number;
  properties?: Record<string, Structural>;
  required?: readonly string[];
  items?: Structural;
  additionalProperties?: Structural;
  anyOf?: readonly Structural[];
  allOf?: readonly Structural[];
  'x-kubernetes-validations'?: readonly Rule[];
  'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  'x-kubernetes-list-map-keys'?: readonly string[];
  'x-kubernetes-int-or-string'?: true;
  'x-kubernetes-preserve-unknown-fields'?: true;
}

export type JsonObject = Record<string, unknown>;
export const isObject = (value: unknown): value is JsonObject => value !== null && typeof value === 'object' && !Array.isArray(value);

/** The schema of a key of an object, if it may have that key. */
export const below = (schema: Structural, key: string): Structural | undefined =>
  schema.properties !== undefined && Object.hasOwn(schema.properties, key) ? schema.properties[key] : schema.additionalProperties;

/** The items of a list under the identity its list type gives them, so that two versions of a list can be compared. */
export const identityOf = (schema: Structural): ((item: unknown) => string) | undefined => {
  const keys = schema['x-kubernetes-list-map-keys'];
  if (keys !== undefined) return (item) => JSON.stringify(keys.map((key) => (isObject(item) ? item[key] : undefined)));
  if (schema['x-kubernetes-list-type'] === 'set') return (item) => JSON.stringify(item);
  return undefined;
};

const canonical = (schema: Structural, value: unknown): unknown => {
  if (Array.isArray(value)) {
    const identity = identityOf(schema);
    const items = value.map((item) => canonical(schema.items ?? {}, item));
    return identity === undefined ? items : items.sort((a, b) => (identity(a) < identity(b) ? -1 : 1));
  }
  if (!isObject(value)) return value;
  const keys = Object.keys(value).sort();
  return { object: keys.map((key) => [key, canonical(below(schema, key) ?? {}, value[key])]) };
};
/** Whether two values are equal; the order of sets and list maps does not count. */
export const same = (schema: Structural, a: unknown, b: unknown): boolean =>
  JSON.stringify(canonical(schema, a)) === JSON.stringify(canonical(schema, b));
