/** Metadata as an API server keeps it: which part is the writer's, which the server's. */
import { createHash } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import type { Random } from '../../lib/random.ts';
import { ConflictError, InvalidError } from '../errors.ts';
import { isJsonObject, type Json, type JsonObject, objectAt } from '../json.ts';
import type { KindRules } from './admission.ts';
import type { ObjectKey } from './database.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_WORDS =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/** Written by whoever writes the object. */
const WRITERS_OWN = ['labels', 'annotations', 'finalizers', 'ownerReferences'];

export function withMetadata(body: JsonObject, metadata: JsonObject): JsonObject {
  return { ...body, metadata };
}

/** The server's part as it is, the writer's part as it is wanted. Empty maps and lists are dropped, as the server does. */
export function metadataOf(live: JsonObject, wanted: JsonObject): JsonObject {
  const kept = Object.entries(objectAt(live, 'metadata')).filter(([field]) => !WRITERS_OWN.includes(field));
  const own = Object.entries(objectAt(wanted, 'metadata')).filter(([field]) => WRITERS_OWN.includes(field));
  return Object.fromEntries([
    ...kept,
    ...own.filter(([, value]) => typeof value === 'object' && value !== null && Object.keys(value).length > 0),
  ]);
}

export function freshMetadata(wanted: JsonObject, clock: Clock, random: Random, countsGenerations: boolean): JsonObject {
  const base = { metadata: { name: wanted['name'] ?? '', namespace: wanted['namespace'] ?? '' } };
  return {
    ...metadataOf(base, { metadata: wanted }),
    uid: uuid(random),
    creationTimestamp: new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z'),
    ...(countsGenerations ? { generation: 1 } : {}),
  };
}

/** From the injected randomness, so that a test can repeat it; in the form that everything expects of a uid. */
function uuid(random: Random): string {
  const hex = createHash('sha256').update(random.id(32)).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A resourceVersion in what is written is a precondition; a uid may be repeated, not changed. */
export function mustAgree(rules: KindRules, { resource, name }: ObjectKey, live: JsonObject, wanted: JsonObject): void {
  const current = objectAt(live, 'metadata');
  if (wanted['resourceVersion'] !== undefined && wanted['resourceVersion'] !== current['resourceVersion']) {
    throw new ConflictError(
      'Conflict',
      `Operation cannot be fulfilled on ${resource} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
    );
  }
  if (wanted['uid'] !== undefined && wanted['uid'] !== current['uid']) {
    throw refused(rules, name, 'metadata.uid', `Invalid value: ${JSON.stringify(wanted['uid'])}: field is immutable`);
  }
}

/** In the words of Status.message. */
function refused(rules: KindRules, name: string, field: string, message: string): InvalidError {
  const group = rules.resource.includes('.') ? `.${rules.resource.slice(rules.resource.indexOf('.') + 1)}` : '';
  const reason = message.startsWith('Forbidden') ? 'FieldValueForbidden' : 'FieldValueInvalid';
  return new InvalidError(`${rules.kind}${group} ${JSON.stringify(name)} is invalid: ${field}: ${message}`, [{ field, reason, message }]);
}

export function mustAddNoFinalizer(rules: KindRules, { name }: ObjectKey, live: JsonObject, next: JsonObject): void {
  const had = objectAt(live, 'metadata')['finalizers'];
  const has = objectAt(next, 'metadata')['finalizers'];
  const added = (Array.isArray(has) ? has : []).filter((f: Json) => !(Array.isArray(had) && had.includes(f)));
  if (added.length === 0) return;
  const shown = added.map((f: Json) => JSON.stringify(f)).join(', ');
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${shown}}`;
  throw refused(rules, name, 'metadata.finalizers', message);
}

export function ownerUids(body: JsonObject): string[] {
  const owners = objectAt(body, 'metadata')['ownerReferences'];
  return (Array.isArray(owners) ? owners : []).filter(isJsonObject).map((owner) => String(owner['uid']));
}

export function checkName(rules: KindRules, name: string): void {
  if (typeof name === 'string' && name.length <= 253 && SUBDOMAIN.test(name)) return;
  throw refused(rules, name, 'metadata.name', `Invalid value: ${JSON.stringify(name)}: ${SUBDOMAIN_WORDS}`);
}
