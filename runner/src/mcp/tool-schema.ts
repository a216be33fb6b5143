import { Ajv2020 } from 'ajv/dist/2020.js';

const MAX_SCHEMA_CHARS = 32 * 1024;
const PROPERTY = /^[A-Za-z0-9_.-]{1,64}$/;
const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** Formats are names of checks that nothing here runs. */
const ajv = new Ajv2020({ strict: false, validateFormats: false, logger: false });

export type CheckedSchema = { readonly schema: Readonly<Record<string, unknown>> } | { readonly fault: string };

/**
 * A tool's schema as it is, or why no model may see it. A provider refuses a request with one bad schema in it as a whole: a
 * single tool would silence the agent.
 */
export function checkSchema(schema: unknown): CheckedSchema {
  if (!isObject(schema) || schema['type'] !== 'object') return { fault: 'its input schema is not that of an object' };
  const combined = ['oneOf', 'anyOf', 'allOf'].find((keyword) => keyword in schema);
  if (combined !== undefined) return { fault: `its input schema has ${combined} at the top, which models do not take` };
  const properties = schema['properties'] ?? {};
  if (!isObject(properties)) return { fault: 'the properties of its input schema are not an object' };
  const odd = Object.keys(properties).find((name) => !PROPERTY.test(name));
  if (odd !== undefined) return { fault: `it has an input named ${JSON.stringify(odd.slice(0, 80))}, which models do not take` };
  try {
    if (JSON.stringify(schema).length > MAX_SCHEMA_CHARS)
      return { fault: `its input schema is longer than ${MAX_SCHEMA_CHARS} characters` };
    const validate = ajv.getSchema(DIALECT);
    if (validate?.(schema) === true) return { schema };
    const [first] = validate?.errors ?? [];
    return { fault: `its input schema is no JSON Schema: ${first?.instancePath ?? ''} ${first?.message ?? ''}`.slice(0, 300) };
  } catch (e) {
    if (e instanceof RangeError) return { fault: 'its input schema is nested too deeply' };
    throw e;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
