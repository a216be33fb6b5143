/** A folder of manifests as the wish of local mode: what `kubectl apply -f` is to a cluster. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { InvalidError } from '../kube/errors.ts';
import { agentGroups, channels, configMaps, destinations, messagingGroups } from '../kube/resource-types.ts';
import type { KubeObject, ResourceStore, ResourceType } from '../kube/store.ts';

/** What people declare. Sessions are made by the system. */
const DECLARABLE: readonly ResourceType<KubeObject>[] = [configMaps, agentGroups, channels, messagingGroups, destinations];
const FIELD_MANAGER = 'dovecote-local';
const MANAGED_LABEL = { 'app.kubernetes.io/managed-by': 'dovecote-local' };

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Record<string, string>; readonly annotations?: Record<string, string> };
  readonly spec?: unknown;
  readonly data?: Record<string, string>;
  readonly binaryData?: Record<string, string>;
  readonly stringData?: Record<string, string>;
  /** for messages: the file it came from */
  readonly file: string;
}

/** Every document of every .yaml, .yml and .json file in `folder`. Throws an Error that names file and fault. */
export function readManifests(folder: string): Manifest[] {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new Error(`cannot read manifests: ${folder} is not a folder`);
  return readdirSync(folder)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .flatMap((name) => parseManifests(readFileSync(join(folder, name), 'utf8'), join(folder, name)));
}

export function parseManifests(text: string, file: string): Manifest[] {
  const documents = parseAllDocuments(text);
  return ('empty' in documents ? [] : documents).flatMap((document) => {
    const [fault] = document.errors;
    if (fault !== undefined) throw new Error(`cannot read ${file}: ${fault.message}`);
    const value = document.toJS() as Partial<Manifest> | null;
    if (value === null) return [];
    if (typeof value.kind !== 'string' || typeof value.apiVersion !== 'string' || typeof value.metadata?.name !== 'string') {
      throw new Error(`cannot read ${file}: every document needs apiVersion, kind and metadata.name`);
    }
    return [{ ...(value as Manifest), file }];
  });
}

/**
 * Applies what is declared and deletes what an earlier start declared and this one no longer does.
 * Throws InvalidError with the sentence that kubectl would print, and the file's name before it.
 */
export async function applyManifests(store: ResourceStore, manifests: readonly Manifest[]): Promise<void> {
  for (const type of DECLARABLE) {
    const wanted = manifests.filter(({ kind }) => kind === type.kind);
    for (const { metadata, spec, data, binaryData, file } of wanted) {
      const body = type === configMaps ? { ...(data && { data }), ...(binaryData && { binaryData }) } : { spec };
      const object = { metadata: { ...metadata, labels: { ...metadata.labels, ...MANAGED_LABEL } }, ...body };
      try {
        await store.apply(type, object as never, { fieldManager: FIELD_MANAGER });
      } catch (e) {
        if (!(e instanceof InvalidError)) throw e;
        if (await replaced(store, type, metadata.name, spec)) continue;
        throw new InvalidError(`${file}: ${e.message}`, e.causes, { cause: e });
      }
    }
    const names = new Set(wanted.map(({ metadata }) => metadata.name));
    const { items } = await store.list(type, { labels: MANAGED_LABEL });
    for (const { metadata } of items) if (!names.has(metadata.name)) await store.delete(type, metadata.name, { uid: metadata.uid });
  }
  for (const { kind, file, metadata } of manifests) {
    if (kind !== 'Secret' && !DECLARABLE.some((type) => type.kind === kind)) {
      throw new Error(
        `cannot apply ${kind} ${metadata.name} of ${file}: local mode knows ${DECLARABLE.map((type) => type.kind).join(', ')} and Secret`,
      );
    }
  }
}

/**
 * An apply leaves behind what the API itself filled in: of a provider that is no longer named, its default key stays and makes the
 * object invalid. Here we are the only one who declares, so what is not declared may go. False: it is wrong as it is declared.
 */
async function replaced(store: ResourceStore, type: ResourceType<KubeObject>, name: string, spec: unknown): Promise<boolean> {
  const live = (await store.get(type, name)) as { readonly spec?: unknown } | undefined;
  if (live === undefined) return false;
  try {
    await store.patch(type, name, { spec: withoutTheRest(live.spec, spec) }, { fieldManager: FIELD_MANAGER });
    return true;
  } catch (e) {
    if (e instanceof InvalidError) return false;
    throw e;
  }
}

/** `wanted` as a merge patch that also removes what else `live` has. */
function withoutTheRest(live: unknown, wanted: unknown): unknown {
  if (!isMap(live) || !isMap(wanted)) return wanted;
  const removed = Object.keys(live).flatMap((key) => (key in wanted ? [] : [[key, null] as const]));
  return {
    ...Object.fromEntries(removed),
    ...Object.fromEntries(Object.entries(wanted).map(([key, value]) => [key, withoutTheRest(live[key], value)])),
  };
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
