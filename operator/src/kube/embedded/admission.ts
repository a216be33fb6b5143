/**
 * What an API server does with an object before it stores it, through `@dovecote/crds` for our kinds. Kubernetes' own kinds are
 * stored without a schema: in this mode only our own code writes them.
 */
import { admit, admitStatus, crd, type Failure, type Kind, kinds } from '@dovecote/crds';
import { type Cause, InvalidError } from '../errors.ts';
import { isJsonObject, type Json, type JsonObject, objectAt } from '../json.ts';
import { apiVersionOf } from '../resource-types.ts';
import type { KubeObject, ResourceType } from '../store.ts';
import { builtInShape, type MergeSchema, type Shape, shapeOf } from './shape.ts';

type Operation = 'Apply' | 'Update';

/** What the store knows of one kind beyond its ResourceType. */
export interface KindRules {
  /** `plural.group` */
  readonly resource: string;
  readonly kind: string;
  readonly apiVersion: string;
  readonly shape: Shape;
  readonly selectable: ReadonlySet<string>;
  /** Whether metadata.generation counts changes of what is wanted. */
  readonly countsGenerations: boolean;
  /** Throws InvalidError. What is returned has its defaults. An apply is decoded by other code on the server, with other words. */
  readonly admit: (body: JsonObject, old: JsonObject | undefined, operation: Operation) => JsonObject;
  readonly admitStatus: (body: JsonObject, old: JsonObject) => JsonObject;
}

const BUILT_IN_SELECTABLE: ReadonlyMap<string, readonly string[]> = new Map([
  [
    'Pod',
    [
      'spec.nodeName',
      'spec.restartPolicy',
      'spec.schedulerName',
      'spec.serviceAccountName',
      'spec.hostNetwork',
      'status.phase',
      'status.podIP',
    ],
  ],
  ['Secret', ['type']],
  ['Event', ['regarding.kind', 'regarding.name', 'regarding.uid', 'reason', 'type', 'reportingController']],
]);
const COUNTED_BUILT_INS = new Set(['Pod', 'NetworkPolicy']);
const known = new Map<string, KindRules>();

export function kindRules(type: ResourceType<KubeObject>): KindRules {
  const resource = type.group === '' ? type.plural : `${type.plural}.${type.group}`;
  let rules = known.get(resource);
  if (rules === undefined) {
    const ours = kinds.find((kind) => kind.kind === type.kind && type.group.endsWith('dovecote.dev'));
    rules = ours === undefined ? builtInRules(type, resource) : customRules(ours, type, resource);
    known.set(resource, rules);
  }
  return rules;
}

function customRules(kind: Kind, type: ResourceType<KubeObject>, resource: string): KindRules {
  const [version] = crd(kind).spec.versions;
  const schema: MergeSchema | undefined = version?.schema.openAPIV3Schema;
  const fieldShapes: Readonly<Record<string, Shape>> = {
    metadata: builtInShape,
    spec: shapeOf(schema?.properties?.['spec']),
    status: shapeOf(schema?.properties?.['status']),
  };
  const settle = (body: JsonObject, result: { object: object; failures: readonly Failure[] }, operation: Operation): JsonObject => {
    if (result.failures.length > 0) throw refusal(kind, type, body, result.failures, operation);
    return result.object as JsonObject;
  };
  return {
    resource,
    kind: type.kind,
    apiVersion: apiVersionOf(type),
    shape: { is: 'object', at: (field) => fieldShapes[field] ?? { is: 'atomic' } },
    selectable: new Set(['metadata.name', 'metadata.namespace', ...kind.selectable.map((path) => path.slice(1))]),
    countsGenerations: true,
    admit: (body, old, operation) => settle(body, admit(kind, body, old), operation),
    admitStatus: (body, old) => settle(body, admitStatus(kind, body, old), 'Apply'),
  };
}

function builtInRules(type: ResourceType<KubeObject>, resource: string): KindRules {
  return {
    resource,
    kind: type.kind,
    apiVersion: apiVersionOf(type),
    shape: builtInShape,
    selectable: new Set(['metadata.name', 'metadata.namespace', ...(BUILT_IN_SELECTABLE.get(type.kind) ?? [])]),
    countsGenerations: COUNTED_BUILT_INS.has(type.kind),
    admit: (body, old) => {
      const { status: _, ...rest } = type.kind === 'Secret' ? withoutStringData(body) : body;
      // As Go's omitempty does with data: {}.
      const filled = Object.entries(rest).filter(([key, value]) => key === 'spec' || !isEmpty(value));
      return { ...Object.fromEntries(filled), ...(old?.['status'] === undefined ? {} : { status: old['status'] }) };
    },
    admitStatus: (body, old) => ({ ...old, ...(body['status'] === undefined ? {} : { status: body['status'] }) }),
  };
}

/** What people write into a Secret as text is stored, and read, as data only. */
function withoutStringData({ stringData, ...rest }: JsonObject): JsonObject {
  if (!isJsonObject(stringData)) return rest;
  const encoded = Object.entries(stringData).map(([key, text]) => [key, Buffer.from(String(text)).toString('base64')]);
  return { ...rest, data: { ...objectAt(rest, 'data'), ...Object.fromEntries(encoded) } };
}

function isEmpty(value: Json | undefined): boolean {
  return value === null || (typeof value === 'object' && Object.keys(value).length === 0);
}

/** In the words of Status.message, which is not what kubectl prints: it makes its own of the causes. */
function refusal(
  kind: Kind,
  type: ResourceType<KubeObject>,
  body: JsonObject,
  failures: readonly Failure[],
  operation: Operation,
): InvalidError {
  const { name = '', namespace = '' } = objectAt(body, 'metadata');
  const unknown = failures.filter((f) => f.type === 'UnknownField').map((f) => f.field);
  if (unknown.length > 0 && operation === 'Apply') {
    const what = `${String(namespace)}/${String(name)}; ${apiVersionOf(type)}, Kind=${kind.kind}`;
    return new InvalidError(`failed to create typed patch object (${what}): .${unknown[0]}: field not declared in schema`);
  }
  if (unknown.length > 0) {
    const fields = unknown.map((field) => `unknown field "${field}"`).join(', ');
    return new InvalidError(
      `${kind.kind} in version "${type.version}" cannot be handled as a ${kind.kind}: strict decoding error: ${fields}`,
    );
  }
  const said = [...new Set(failures.map((f) => `${f.field}: ${f.message}`))];
  const causes: Cause[] = failures.filter((f) => f.field !== '<nil>').map((f) => ({ field: f.field, reason: f.type, message: f.message }));
  const all = said.length === 1 ? said[0] : `[${said.join(', ')}]`;
  return new InvalidError(`${kind.kind}.${type.group} ${JSON.stringify(name)} is invalid: ${all}`, causes);
}
