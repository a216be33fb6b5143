/**
 * Objects that are stored and that our types cannot read: of an older schema, or written past it. No reconciler ever sees one, so this says
 * on the object itself what is wrong with it. Under a field manager of its own: what else stands in the status is not ours to drop.
 */
import { ConditionType, Reason } from '@dovecote/crds';
import { UnreadableError } from '../kube/errors.ts';
import { agentGroups, channels, destinations, messagingGroups, sessions } from '../kube/resource-types.ts';
import type { InvalidObject, KubeObject, ResourceStore, ResourceType } from '../kube/store.ts';
import type { Clock } from '../lib/clock.ts';
import { toError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { clip } from './session/exit.ts';

const FIELD_MANAGER = 'dovecote-controller-invalid';
const LOOK_MS = 30_000;

type Lists = Readonly<
  Record<'agentGroups' | 'channels' | 'destinations' | 'messagingGroups' | 'sessions', { invalid(): readonly InvalidObject[] }>
>;

const TYPES: Readonly<Record<keyof Lists, ResourceType<KubeObject>>> = { agentGroups, channels, destinations, messagingGroups, sessions };

export interface InvalidDeps {
  readonly store: ResourceStore;
  readonly caches: Lists;
  readonly clock: Clock;
  readonly log: Log;
}

/** Ends when `signal` aborts. Each version of an object is told once. */
export async function reportInvalidObjects({ store, caches, clock, log }: InvalidDeps, signal: AbortSignal): Promise<void> {
  let told = new Map<string, string>();
  while (!signal.aborted) {
    const now = new Map<string, string>();
    for (const [kind, type] of Object.entries(TYPES) as [keyof Lists, ResourceType<KubeObject>][]) {
      for (const object of caches[kind].invalid()) {
        const mark = clip(object.error.message, 2_000);
        const done = told.get(object.uid) === mark || (await tell(type, object.name, mark));
        if (done) now.set(object.uid, mark);
      }
    }
    told = now;
    await clock.sleep(LOOK_MS, signal).catch(() => {}); // cancelled: the loop's condition ends it
  }

  async function tell(type: ResourceType<KubeObject>, name: string, message: string): Promise<boolean> {
    const lastTransitionTime = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const ready = { type: ConditionType.Ready, status: 'False', reason: Reason.Invalid, message, lastTransitionTime };
    try {
      await store.applyStatus(type, name, { conditions: [ready] }, { fieldManager: FIELD_MANAGER, signal });
      return true;
    } catch (thrown) {
      // It was written; what came back is as unreadable as before.
      if (thrown instanceof UnreadableError) return true;
      if (!signal.aborted) log.error({ kind: type.kind, name, err: toError(thrown) }, 'cannot say on an object that it cannot be read');
      return false;
    }
  }
}
