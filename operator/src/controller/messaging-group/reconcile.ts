/**
 * From a MessagingGroup to the word whether what it names exists. There is nothing to make for it, so there is no plan: the gateway
 * routes by MessagingGroups itself.
 */
import { ConditionType } from '@dovecote/crds';
import { jsonEqual } from '../../kube/json.ts';
import { messagingGroups } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { ReportEvent } from '../events.ts';
import { FIELD_MANAGER } from '../labels.ts';
import { type Outcome, runSteps, type Step } from '../steps.ts';
import { type Observed, observe, type Sight } from './observe.ts';
import { statusOf } from './status.ts';

export interface MessagingGroupDeps extends Sight {
  readonly store: ResourceStore;
  readonly report: ReportEvent;
}

interface Pass {
  readonly observed: Observed;
  readonly resyncMs?: undefined;
}

export class MessagingGroupReconciler {
  readonly #deps: MessagingGroupDeps;
  readonly #steps: readonly Step<Pass>[] = [{ name: 'write-status', run: (pass, signal) => this.#writeStatus(pass, signal) }];

  constructor(deps: MessagingGroupDeps) {
    this.#deps = deps;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const observed = observe(name, this.#deps);
    if (observed === undefined || observed.messagingGroup.metadata.deletionTimestamp !== undefined) return {};
    return runSteps(this.#steps, { observed }, signal);
  }

  async #writeStatus({ observed }: Pass, signal: AbortSignal): Promise<'next'> {
    const { store, own, report } = this.#deps;
    const { messagingGroup } = observed;
    const status = statusOf(observed);
    if (jsonEqual(messagingGroup.status, status)) return 'next';
    const written = await store.applyStatus(messagingGroups, messagingGroup.metadata.name, status, { fieldManager: FIELD_MANAGER, signal });
    if (written === undefined) return 'next';
    own.note(written);
    report(messagingGroup, written, ConditionType.Ready);
    return 'next';
  }
}
