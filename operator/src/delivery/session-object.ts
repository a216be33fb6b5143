/** What delivery writes of a Session: its making, spec.awake, spec.title and three annotations. Everything else is the controller's or people's. */
import { type AgentGroup, API_VERSION, type Session } from '@dovecote/crds';
import type { MetaRow } from '@dovecote/proto';
import { ConflictError } from '../kube/errors.ts';
import { sessions } from '../kube/resource-types.ts';
import type { NewObject, ResourceStore } from '../kube/store.ts';
import { parseScope } from '../lib/scope.ts';

export const FIELD_MANAGER = 'dovecote-delivery';
/** JSON {reason, message}: the controller turns it into the condition StorageOk. */
export const STORAGE_ANNOTATION = 'dovecote.dev/storage';
/** JSON {id, text}: something to be said once in its chat, left by a shard that does not have its cell. */
export const NOTICE_ANNOTATION = 'dovecote.dev/notice';

/** An id: what was refused is granted from now on, so what waits for that in its cell is tried at once. Left like a notice. */
export const RETRY_ANNOTATION = 'dovecote.dev/retry';

/** The object of a cell, from what the cell says of itself. */
export function newSession(meta: MetaRow, shard: string, agent: AgentGroup, awake: boolean): NewObject<Session> {
  const chat = parseScope(meta.scope);
  return {
    metadata: {
      name: meta.session,
      labels: { 'app.kubernetes.io/managed-by': 'dovecote', 'dovecote.dev/agent-group': meta.agent_group, 'dovecote.dev/shard': shard },
      ownerReferences: [{ apiVersion: API_VERSION, kind: 'AgentGroup', name: agent.metadata.name, uid: agent.metadata.uid }],
    },
    spec: {
      agentGroupRef: meta.agent_group,
      agentGroupUid: meta.agent_group_uid,
      shard,
      scope: meta.scope,
      generation: meta.generation,
      type: meta.type as Session['spec']['type'],
      awake,
      ...titleField(meta.title),
      ...(chat !== undefined && {
        channelRef: chat.channel,
        chatId: chat.chat,
        ...(chat.thread !== undefined && chat.thread.length <= 256 && { thread: chat.thread }),
      }),
    },
  };
}

/**
 * Makes the object awake: one create when it does not exist, one patch when it does. `known` is what the cache says; when it is
 * wrong, the other call follows. Throws the store's errors.
 */
export async function writeAwake(
  store: ResourceStore,
  session: {
    readonly known: boolean;
    readonly name: string;
    readonly awake: boolean;
    /** goes with the same write */
    readonly title: string | null | undefined;
    readonly object: () => NewObject<Session>;
  },
  signal: AbortSignal,
): Promise<void> {
  const options = { fieldManager: FIELD_MANAGER, signal };
  const patch = () => store.patch(sessions, session.name, { spec: { awake: session.awake, ...titleField(session.title) } }, options);
  if (session.known && (await patch()) !== undefined) return;
  if (!session.awake) return; // gone, and nobody needs it
  try {
    await store.create(sessions, session.object(), options);
  } catch (e) {
    if (!(e instanceof ConflictError)) throw e;
    await patch(); // it exists, the cache only does not know yet
  }
}

/** A Session that is gone has no title. */
export async function writeTitle(store: ResourceStore, session: string, title: string, signal: AbortSignal): Promise<void> {
  await store.patch(sessions, session, { spec: titleField(title) }, { fieldManager: FIELD_MANAGER, signal });
}

function titleField(title: string | null | undefined): { readonly title?: string } {
  return title === null || title === undefined || title === '' ? {} : { title: title.slice(0, 256) };
}

/** undefined: the object is gone. */
export async function writeStorage(
  store: ResourceStore,
  session: string,
  report: { reason: string; message: string },
  signal: AbortSignal,
): Promise<void> {
  const metadata = { annotations: { [STORAGE_ANNOTATION]: JSON.stringify(report) } };
  await store.patch(sessions, session, { metadata }, { fieldManager: FIELD_MANAGER, signal });
}

/** Leaves a notice for the shard that has the cell. A Session that is gone hears nothing. */
export async function writeNotice(
  store: ResourceStore,
  session: string,
  notice: { readonly id: string; readonly text: string },
  signal: AbortSignal,
): Promise<void> {
  const metadata = { annotations: { [NOTICE_ANNOTATION]: JSON.stringify(notice) } };
  await store.patch(sessions, session, { metadata }, { fieldManager: FIELD_MANAGER, signal });
}

/** As `writeNotice`. */
export async function writeRetry(store: ResourceStore, session: string, id: string, signal: AbortSignal): Promise<void> {
  await store.patch(sessions, session, { metadata: { annotations: { [RETRY_ANNOTATION]: id } } }, { fieldManager: FIELD_MANAGER, signal });
}

/** undefined: there is none, or not of this form, as people can write annotations too. */
export function parseNotice(text: string | undefined): { readonly id: string; readonly text: string } | undefined {
  if (text === undefined) return undefined;
  try {
    const said = JSON.parse(text) as { id?: unknown; text?: unknown } | null;
    return typeof said?.id === 'string' && typeof said.text === 'string' ? { id: said.id, text: said.text } : undefined;
  } catch {
    return undefined;
  }
}
