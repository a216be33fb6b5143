// What the API server does with an object before it stores it: decode strictly, drop nulls, fill in defaults, validate, run the rules. The embedded
// store calls this, so that `dovecote local` takes and refuses the same manifests, with the same sentences, as a cluster.
import { schemaOf } from './crd.ts';
import { decode, unknownFields } from './decode.ts';
import { type Failure, failure } from './failure.ts';
import type { Kind } from './kind.ts';
import { checkRules } from './rules.ts';
import { isObject, type JsonObject, type Structural } from './structural.ts';
import { duplicates, validate } from './validate.ts';

export interface Admission<T extends JsonObject = JsonObject> {
  /** The object to store. Not to be used when there are failures. */
  object: T;
  failures: Failure[];
}

const METADATA = new Set(
  (
    'annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation labels managedFields name namespace ' +
    'ownerReferences resourceVersion selfLink uid'
  ).split(' '),
);
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_WORDS =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/** After one of these the rules are not run, because they could not rely on the schema. */
const BLOCKING: ReadonlySet<Failure['type']> = new Set([
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueNotSupported',
  'FieldValueTypeInvalid',
]);
const NOT_CHECKED = failure(
  '<nil>',
  'FieldValueInvalid',
  null,
  'some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
);

const strictly = (schema: Structural, object: JsonObject): Failure[] => {
  const metadata = isObject(object['metadata']) ? Object.keys(object['metadata']).filter((key) => !METADATA.has(key)) : [];
  const { metadata: _, ...rest } = object;
  const fields = [...metadata.map((key) => `metadata.${key}`), ...unknownFields(schema, rest, '')];
  return fields.map((field) => ({ field, type: 'UnknownField', message: `unknown field "${field}"` }));
};

const nameFailures = (kind: Kind, metadata: unknown): Failure[] => {
  const name = isObject(metadata) ? metadata['name'] : undefined;
  const field = 'metadata.name';
  if (typeof name !== 'string' || name === '') return [failure(field, 'FieldValueRequired', undefined, 'name or generateName is required')];
  if (!SUBDOMAIN.test(name)) return [failure(field, 'FieldValueInvalid', name, SUBDOMAIN_WORDS)];
  return name.length > kind.nameMax ? [failure(field, 'FieldValueTooLong', name, `may not be more than ${kind.nameMax} bytes`)] : [];
};

/** Validation of one part of an object, spec or status, against the part it replaces. */
const part = (schema: Structural, value: unknown, old: unknown, field: string, before: Failure[]): Failure[] => {
  const repeated = duplicates(schema, value, field);
  const failures = [
    ...before,
    ...validate(schema, value, old, field),
    ...(old !== undefined && duplicates(schema, old, field).length > 0 ? [] : repeated),
  ];
  if (failures.some((f) => BLOCKING.has(f.type))) return [...failures, NOT_CHECKED];
  return [...failures, ...checkRules(schema, value, old, field)];
};

const partOf = (schema: Structural, name: 'spec' | 'status'): Structural => schema.properties?.[name] ?? {};

/**
 * A write to the object itself: spec and metadata. Its status is not taken over; the stored one stays. `old` is the stored object on an update.
 * Labels, annotations and resourceVersion are the store's business.
 */
export const admit = (kind: Kind, object: JsonObject, old?: JsonObject): Admission => {
  const schema = schemaOf(kind);
  const unknown = strictly(schema, object);
  if (unknown.length > 0) return { object, failures: unknown };
  const { status: _, spec, ...rest } = object;
  const admitted: JsonObject = { ...rest };
  const before = old === undefined ? nameFailures(kind, object['metadata']) : [];
  if (spec === undefined || spec === null) {
    return { object, failures: [...before, failure('spec', 'FieldValueRequired', undefined), NOT_CHECKED] };
  }
  const specSchema = partOf(schema, 'spec');
  admitted['spec'] = decode(specSchema, spec);
  if (old?.['status'] !== undefined) admitted['status'] = old['status'];
  const oldSpec = old === undefined ? undefined : decode(specSchema, old['spec']);
  return { object: admitted, failures: part(specSchema, admitted['spec'], oldSpec, 'spec', before) };
};

/** In a write to the status the API server leaves `status.` out where it repeats the field. */
const shortened = ({ field, type, message }: Failure): Failure => ({
  field,
  type,
  message: message.replace(`: ${field} in body`, `: ${field.replace(/^status\.?/, '')} in body`),
});

/** A write to the status subresource: everything but the status of `object` is taken from `old`, the stored object. */
export const admitStatus = (kind: Kind, object: JsonObject, old: JsonObject): Admission => {
  const schema = schemaOf(kind);
  const unknown = strictly(schema, object);
  if (unknown.length > 0) return { object, failures: unknown };
  const { status: oldStatus, ...rest } = old;
  if (object['status'] === undefined || object['status'] === null) return { object: rest, failures: [] };
  const statusSchema = partOf(schema, 'status');
  const status = decode(statusSchema, object['status']);
  const failures = part(statusSchema, status, oldStatus === undefined ? undefined : decode(statusSchema, oldStatus), 'status', []);
  return { object: { ...rest, status }, failures: failures.map(shortened) };
};
