/** Every kind this operator reads or writes: ours from `@dovecote/crds`, Kubernetes' own on client-node's types. */
import {
  AgentGroup,
  Channel,
  Destination,
  GROUP,
  type Kind,
  MessagingGroup,
  parse,
  type ResourceOf,
  Session,
  VERSION,
} from '@dovecote/crds';
import type {
  EventsV1Event,
  V1ConfigMap,
  V1Lease,
  V1NetworkPolicy,
  V1PersistentVolumeClaim,
  V1Pod,
  V1Secret,
  V1Service,
  V1ServiceAccount,
} from '@kubernetes/client-node';
import { TerminalError } from '../lib/errors.ts';
import { isJsonObject } from './json.ts';
import type { KubeObject, ObjectMeta, ResourceType } from './store.ts';

/** client-node declares times as Date, because its own deserialiser makes them; on the wire, and so here, they are strings. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer E)[]
    ? readonly Wire<E>[]
    : T extends object
      ? { readonly [K in keyof T]: Wire<T[K]> }
      : T;

type BuiltIn<T extends object, V extends string, K extends string> = Omit<Wire<T>, 'apiVersion' | 'kind' | 'metadata'> & {
  readonly apiVersion: V;
  readonly kind: K;
  readonly metadata: ObjectMeta;
};

export type Pod = BuiltIn<V1Pod, 'v1', 'Pod'>;
export type Secret = BuiltIn<V1Secret, 'v1', 'Secret'>;
export type ConfigMap = BuiltIn<V1ConfigMap, 'v1', 'ConfigMap'>;
export type ServiceAccount = BuiltIn<V1ServiceAccount, 'v1', 'ServiceAccount'>;
export type Service = BuiltIn<V1Service, 'v1', 'Service'>;
export type PersistentVolumeClaim = BuiltIn<V1PersistentVolumeClaim, 'v1', 'PersistentVolumeClaim'>;
export type NetworkPolicy = BuiltIn<V1NetworkPolicy, 'networking.k8s.io/v1', 'NetworkPolicy'>;
export type Lease = BuiltIn<V1Lease, 'coordination.k8s.io/v1', 'Lease'>;
export type KubeEvent = BuiltIn<EventsV1Event, 'events.k8s.io/v1', 'Event'>;

export const agentGroups = ofKind(AgentGroup);
export const channels = ofKind(Channel);
export const messagingGroups = ofKind(MessagingGroup);
export const destinations = ofKind(Destination);
export const sessions = ofKind(Session);

export const pods = builtIn<Pod>('', 'v1', 'Pod', 'pods', { spec: 'object', status: 'object' }, true);
export const secrets = builtIn<Secret>('', 'v1', 'Secret', 'secrets', { data: 'strings' });
export const configMaps = builtIn<ConfigMap>('', 'v1', 'ConfigMap', 'configmaps', { data: 'strings', binaryData: 'strings' });
export const serviceAccounts = builtIn<ServiceAccount>('', 'v1', 'ServiceAccount', 'serviceaccounts', {});
export const services = builtIn<Service>('', 'v1', 'Service', 'services', { spec: 'object', status: 'object' }, true);
export const persistentVolumeClaims = builtIn<PersistentVolumeClaim>(
  '',
  'v1',
  'PersistentVolumeClaim',
  'persistentvolumeclaims',
  { spec: 'object', status: 'object' },
  true,
);
export const networkPolicies = builtIn<NetworkPolicy>('networking.k8s.io', 'v1', 'NetworkPolicy', 'networkpolicies', { spec: 'object' });
export const leases = builtIn<Lease>('coordination.k8s.io', 'v1', 'Lease', 'leases', { spec: 'object' });
export const events = builtIn<KubeEvent>('events.k8s.io', 'v1', 'Event', 'events', {});

export const resourceTypes: readonly ResourceType<KubeObject>[] = [
  agentGroups,
  channels,
  messagingGroups,
  destinations,
  sessions,
  pods,
  secrets,
  configMaps,
  serviceAccounts,
  services,
  persistentVolumeClaims,
  networkPolicies,
  leases,
  events,
];

export function apiVersionOf({ group, version }: Pick<ResourceType<KubeObject>, 'group' | 'version'>): string {
  return group === '' ? version : `${group}/${version}`;
}

/** The text of one key of a Secret. Throws a TerminalError with reason SecretKeyMissing; never puts a value into a message. */
export function secretValue(secret: Secret, key: string): string {
  const value = secret.data?.[key];
  if (value === undefined) {
    const has = Object.keys(secret.data ?? {})
      .sort()
      .join(', ');
    throw new TerminalError(
      'SecretKeyMissing',
      `cannot read key ${key} of Secret ${secret.metadata.name}: it has ${has === '' ? 'no keys' : `only ${has}`}`,
    );
  }
  return Buffer.from(value, 'base64').toString('utf8');
}

function ofKind<K extends string, T extends Kind<K>>(kind: T): ResourceType<ResourceOf<T>> {
  return { group: GROUP, version: VERSION, kind: kind.kind, plural: kind.plural, hasStatus: true, parse: (raw) => parse(kind, raw) };
}

type Shape = Readonly<Record<string, 'object' | 'strings'>>;

/** The API server has checked built-ins against their schema: only what our types promise beyond theirs is looked at again. */
function builtIn<T extends KubeObject>(
  group: string,
  version: string,
  kind: T['kind'],
  plural: string,
  shape: Shape,
  hasStatus = false,
): ResourceType<T> {
  const apiVersion = group === '' ? version : `${group}/${version}`;
  const parseBuiltIn = (raw: unknown): T => {
    if (!isJsonObject(raw)) throw bad(kind, '', 'an object', raw);
    if (raw['apiVersion'] !== apiVersion) throw bad(kind, 'apiVersion', apiVersion, raw['apiVersion']);
    if (raw['kind'] !== kind) throw bad(kind, 'kind', kind, raw['kind']);
    const metadata = raw['metadata'];
    if (!isJsonObject(metadata)) throw bad(kind, 'metadata', 'an object', metadata);
    for (const field of ['name', 'namespace', 'uid', 'resourceVersion', 'creationTimestamp']) {
      const value = metadata[field];
      if (typeof value !== 'string' || value === '') throw bad(kind, `metadata.${field}`, 'a non-empty string', value);
    }
    for (const field of ['labels', 'annotations']) mustBeStrings(kind, `metadata.${field}`, metadata[field]);
    for (const [field, form] of Object.entries(shape)) {
      const value = raw[field];
      if (form === 'strings') mustBeStrings(kind, field, value);
      else if (value !== undefined && !isJsonObject(value)) throw bad(kind, field, 'an object', value);
    }
    return raw as unknown as T;
  };
  return { group, version, kind, plural, hasStatus, parse: parseBuiltIn };
}

function mustBeStrings(kind: string, path: string, value: unknown): void {
  if (value === undefined || value === null) return;
  if (!isJsonObject(value)) throw bad(kind, path, 'an object of strings', value);
  // The value itself is left out: it may be a Secret's.
  for (const [key, inner] of Object.entries(value))
    if (typeof inner !== 'string') throw bad(kind, `${path}.${key}`, 'a string', typeof inner);
}

function bad(kind: string, path: string, want: string, got: unknown): TypeError {
  const shown =
    typeof got === 'object' && got !== null ? (Array.isArray(got) ? 'a list' : 'an object') : (JSON.stringify(got) ?? 'undefined');
  return new TypeError(`cannot read ${kind}: ${path === '' ? 'it' : path} must be ${want}, current value is ${shown}`);
}
