/**
 * From a Channel to the word whether it can be used. There is nothing to make for it, so there is no plan: the gateway watches Channels
 * itself. Two writers share its status: the gateway owns the condition Connected, account, path and connectedSince, this owns the rest.
 */
import { ConditionType } from '@dovecote/crds';
import { channels } from '../../kube/resource-types.ts';
import { RECHECK_MS } from '../credentials.ts';
import type { ReportEvent } from '../events.ts';
import { FIELD_MANAGER } from '../labels.ts';
import { type Outcome, runSteps, type Step } from '../steps.ts';
import { type Observed, observe, type Sight } from './observe.ts';
import { sameOwnStatus } from './same-own-status.ts';
import { statusOf } from './status.ts';

export interface ChannelDeps extends Sight {
  readonly report: ReportEvent;
}

interface Pass {
  readonly observed: Observed;
  readonly resyncMs: number | undefined;
}

export class ChannelReconciler {
  readonly #deps: ChannelDeps;
  readonly #steps: readonly Step<Pass>[] = [{ name: 'write-status', run: (pass, signal) => this.#writeStatus(pass, signal) }];

  constructor(deps: ChannelDeps) {
    this.#deps = deps;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const observed = await observe(name, this.#deps, signal);
    if (observed === undefined || observed.channel.metadata.deletionTimestamp !== undefined) return {};
    const { credentials } = observed;
    const recheckMs = credentials?.status === 'True' ? RECHECK_MS.found : RECHECK_MS.missing;
    return runSteps(this.#steps, { observed, resyncMs: credentials === undefined ? undefined : recheckMs }, signal);
  }

  async #writeStatus({ observed }: Pass, signal: AbortSignal): Promise<'next'> {
    const { store, own, report } = this.#deps;
    const { channel } = observed;
    const status = statusOf(observed);
    if (sameOwnStatus(channel.status, status)) return 'next';
    const written = await store.applyStatus(channels, channel.metadata.name, status, { fieldManager: FIELD_MANAGER, signal });
    if (written === undefined) return 'next';
    own.note(written);
    report(channel, written, ConditionType.Ready);
    return 'next';
  }
}
