/**
 * From an AgentGroup to what its sessions need before the first of them wakes: shards, a name in the cluster, a fence around its Pods, and
 * the word whether its credentials are there. Its deletion needs nothing of us: what belongs to it names it as owner.
 */
import { ConditionType } from '@dovecote/crds';
import { jsonEqual } from '../../kube/json.ts';
import { agentGroups, networkPolicies, serviceAccounts } from '../../kube/resource-types.ts';
import type { KubeObject, NewObject, ResourceType } from '../../kube/store.ts';
import type { NetworkConfig } from '../config.ts';
import type { ReportEvent } from '../events.ts';
import { FIELD_MANAGER } from '../labels.ts';
import { type Outcome, runSteps, type Step } from '../steps.ts';
import { type Observed, observe, type Sight } from './observe.ts';
import { type Plan, plan } from './plan.ts';
import { agentMeta } from './service-account.ts';
import { sameOwnStatus, statusOf } from './status.ts';

export interface AgentGroupDeps extends Sight {
  readonly network: NetworkConfig;
  readonly report: ReportEvent;
}

interface Pass {
  readonly observed: Observed;
  readonly plan: Plan;
  readonly resyncMs: number;
}

/** What someone changed by hand is put right again within this time. */
const REAPPLY_MS = 600_000;
const NOTHING = {};

export class AgentGroupReconciler {
  readonly #deps: AgentGroupDeps;
  /** What was applied last, and when: nothing is watched that only we write. */
  readonly #applied = new Map<string, { readonly object: object; readonly at: number }>();
  readonly #steps: readonly Step<Pass>[] = [
    {
      name: 'apply-service-account',
      run: ({ plan: p, observed }, signal) => this.#apply(serviceAccounts, p.serviceAccount, observed, signal),
    },
    {
      name: 'apply-network-policy',
      run: ({ plan: p, observed }, signal) =>
        p.networkPolicy === undefined
          ? this.#removePolicy(observed, signal)
          : this.#apply(networkPolicies, p.networkPolicy, observed, signal),
    },
    { name: 'write-status', run: (pass, signal) => this.#writeStatus(pass, signal) },
  ];

  constructor(deps: AgentGroupDeps) {
    this.#deps = deps;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const observed = await observe(name, this.#deps, signal);
    if (observed === undefined || observed.agentGroup.metadata.deletionTimestamp !== undefined) return {};
    const planned = plan(observed, this.#deps.network);
    return runSteps(this.#steps, { observed, plan: planned, resyncMs: planned.resyncMs }, signal);
  }

  async #apply<T extends KubeObject>(type: ResourceType<T>, object: NewObject<T>, { now }: Observed, signal: AbortSignal): Promise<'next'> {
    const key = `${type.kind}/${object.metadata.name}`;
    const last = this.#applied.get(key);
    if (last !== undefined && now - last.at < REAPPLY_MS && jsonEqual(last.object, object)) return 'next';
    await this.#deps.store.apply(type, object, { fieldManager: FIELD_MANAGER, signal });
    this.#applied.set(key, { object, at: now });
    return 'next';
  }

  /** One that was made while policies were wanted. Another's of that name is left alone. */
  async #removePolicy({ agentGroup, now }: Observed, signal: AbortSignal): Promise<'next'> {
    const { name } = agentMeta(agentGroup);
    const key = `${networkPolicies.kind}/${name}`;
    const last = this.#applied.get(key);
    if (last?.object === NOTHING && now - last.at < REAPPLY_MS) return 'next';
    const found = await this.#deps.store.get(networkPolicies, name, { signal });
    if (found?.metadata.ownerReferences?.some(({ uid }) => uid === agentGroup.metadata.uid) === true)
      await this.#deps.store.delete(networkPolicies, name, { uid: found.metadata.uid, signal });
    this.#applied.set(key, { object: NOTHING, at: now });
    return 'next';
  }

  async #writeStatus({ observed, plan: planned }: Pass, signal: AbortSignal): Promise<'next'> {
    const { store, own, report } = this.#deps;
    const { agentGroup } = observed;
    const status = statusOf(observed, planned);
    if (sameOwnStatus(agentGroup.status, status)) return 'next';
    const written = await store.applyStatus(agentGroups, agentGroup.metadata.name, status, { fieldManager: FIELD_MANAGER, signal });
    if (written === undefined) return 'next';
    own.note(written);
    report(agentGroup, written, ConditionType.Ready);
    return 'next';
  }
}
