/** How agents stand with their budgets, told to the cluster: the condition WithinBudget of the AgentGroup, which is delivery's own. */
import { type AgentGroup, ConditionType, Reason } from '@dovecote/crds';
import { agentGroups } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Background } from '../background.ts';
import { FIELD_MANAGER } from '../session-object.ts';
import type { Standing } from './standing.ts';

interface Said {
  readonly reason: string;
  readonly message: string;
}

export class BudgetReports {
  readonly #store: ResourceStore;
  readonly #background: Background;
  readonly #clock: Clock;
  /** Written by us and perhaps not yet in the cache, by the name of the AgentGroup; undefined: no condition. */
  readonly #latest = new Map<string, Said | undefined>();

  constructor(deps: { readonly store: ResourceStore; readonly background: Background; readonly clock: Clock }) {
    this.#store = deps.store;
    this.#background = deps.background;
    this.#clock = deps.clock;
  }

  /** One API write when the standing is another than what was said, and none else. True: it is news. `standing` undefined: no budget. */
  report(agentGroup: AgentGroup, standing: Standing | undefined): boolean {
    const { name } = agentGroup.metadata;
    const before = this.#latest.has(name) ? this.#latest.get(name) : shown(agentGroup);
    // Nothing was said yet, and nothing need be: an agent far from its limit costs no write.
    if (before === undefined && (standing === undefined || standing.reason === Reason.BudgetLeft)) return false;
    if (before?.reason === standing?.reason && before?.message === standing?.message) return false;
    this.#latest.set(name, standing);
    this.#background.run('budget-report', '', async (signal) => {
      try {
        const status = standing === undefined ? {} : { conditions: [this.#condition(agentGroup, standing)] };
        await this.#store.applyStatus(agentGroups, name, status, { fieldManager: FIELD_MANAGER, signal });
      } catch (e) {
        if (this.#latest.get(name) === standing) this.#latest.delete(name); // so that the next look says it again
        throw e;
      }
    });
    return true;
  }

  /** The cache has the object anew: when it says what we said, it is right from now on. */
  seen(agentGroup: AgentGroup): void {
    const { name } = agentGroup.metadata;
    const said = this.#latest.get(name);
    const now = shown(agentGroup);
    if (said?.reason === now?.reason && said?.message === now?.message) this.#latest.delete(name);
  }

  #condition({ metadata, status }: AgentGroup, { reason, message }: Standing): object {
    const type = ConditionType.WithinBudget;
    const known = status?.conditions?.find((one) => one.type === type);
    const value = reason === Reason.BudgetExhausted ? 'False' : 'True';
    const now = new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    const lastTransitionTime = known?.status === value ? known.lastTransitionTime : now;
    return { type, status: value, reason, message, observedGeneration: metadata.generation, lastTransitionTime };
  }
}

function shown({ status }: AgentGroup): Said | undefined {
  return status?.conditions?.find(({ type }) => type === ConditionType.WithinBudget);
}
