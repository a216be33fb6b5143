// The API server's first steps with an object: unknown fields, nulls, defaults.
import { below, isObject, type Structural } from './structural.ts';

/** Fields that the schema does not have, as paths, in the API server's order. With fieldValidation=Strict one is enough to refuse the object. */
export const unknownFields = (schema: Structural, value: unknown, path: string): string[] => {
  const found: string[] = [];
  const walk = (node: Structural, part: unknown, at: string): void => {
    if (node['x-kubernetes-preserve-unknown-fields'] === true) return;
    if (Array.isArray(part)) {
      for (const [i, item] of part.entries()) walk(node.items ?? {}, item, `${at}[${i}]`);
    } else if (isObject(part)) {
      for (const [key, child] of Object.entries(part)) {
        const next = below(node, key);
        const name = at === '' ? key : `${at}.${key}`;
        if (next === undefined) found.push(name);
        else walk(next, child, name);
      }
    }
  };
  walk(schema, value, path);
  return found.sort();
};

/**
 * The value as the API server would validate and store it: unknown fields and nulls dropped, absent fields with a default filled in. A null in a
 * list stays, to be refused. Gives a new value; `value` is not changed.
 */
export const decode = (schema: Structural, value: unknown): unknown => {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return structuredClone(value);
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? structuredClone(value) : value.map((item) => decode(items, item));
  }
  if (!isObject(value) || schema.type !== 'object') return value;
  const result: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(value)) {
    const next = below(schema, key);
    if (next !== undefined && child !== null && child !== undefined) result[key] = decode(next, child);
  }
  for (const [key, next] of Object.entries(schema.properties ?? {})) {
    // The default of an object is complete as it stands: the generator fills in the defaults inside it.
    if (next.default !== undefined && !Object.hasOwn(result, key)) result[key] = structuredClone(next.default);
  }
  return result;
};
