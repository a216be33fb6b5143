/**
 * Hop 6 of a message's path and the end of a Session's: from spec.awake to a Pod and back. Delivery writes the spec, this the Pod and the
 * status. A wake costs a Pod and one status write, a sleep a deletion and one status write.
 */
import { ConditionType, Reason, type Session } from '@dovecote/crds';
import { ConflictError, ForbiddenError, InvalidError } from '../../kube/errors.ts';
import { jsonEqual } from '../../kube/json.ts';
import { type Pod, pods as podType, sessions as sessionType } from '../../kube/resource-types.ts';
import type { ResourceStore } from '../../kube/store.ts';
import type { Reached } from '../../lib/crash-point.ts';
import type { Log } from '../../lib/log.ts';
import type { ReportEvent } from '../events.ts';
import { FIELD_MANAGER, Label, MANAGED_BY } from '../labels.ts';
import type { ControllerMetrics } from '../metrics.ts';
import { type Outcome, runSteps, type Step } from '../steps.ts';
import { observe, type Sight } from './observe.ts';
import { type Observed, type Plan, plan } from './plan.ts';
import { buildPod } from './pod.ts';
import { statusOf } from './status.ts';

export interface SessionDeps extends Sight {
  readonly store: ResourceStore;
  readonly report: ReportEvent;
  readonly metrics: ControllerMetrics;
  readonly reached: Reached;
  readonly log: Log;
}

interface Pass {
  observed: Observed;
  plan: Plan;
  resyncMs: number | undefined;
}

/** After the cluster refused a Pod: a quota, a policy or a bad field may be changed by someone. */
const REFUSED_RETRY_MS = 30_000;
/** By then a watch that works has told of a deletion. */
const ASK_AGAIN_MS = 10_000;

export class SessionReconciler {
  readonly #deps: SessionDeps;
  /** uid of a Pod → when its deletion was asked for: asked again before the cache shows it, it would be a write that changes nothing. */
  readonly #asked = new Map<string, number>();
  readonly #steps: readonly Step<Pass>[] = [
    { name: 'confirm-gone', run: (pass, signal) => this.#confirmGone(pass, signal) },
    { name: 'delete-pod', run: (pass, signal) => this.#deletePod(pass, signal) },
    { name: 'create-pod', run: (pass, signal) => this.#createPod(pass, signal) },
    { name: 'write-status', run: (pass, signal) => this.#writeStatus(pass, signal) },
  ];

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const observed = observe(name, this.#deps);
    if (observed === undefined) return {};
    const pass: Pass = { observed, plan: plan(observed), resyncMs: undefined };
    pass.resyncMs = pass.plan.resyncMs;
    return runSteps(this.#steps, pass, signal);
  }

  /**
   * On Asleep delivery opens the runner's file for writing. The cache shows only Pods with our label, and a watch can be late: so the
   * API is asked once whether the Pod is really gone.
   */
  async #confirmGone(pass: Pass, signal: AbortSignal): Promise<'next'> {
    const { session, pod } = pass.observed;
    const rests = pass.plan.view.is === 'asleep' || pass.plan.view.is === 'suspended';
    if (!rests || pod !== undefined || unchanged(session, statusOf(pass.observed, pass.plan, undefined))) return 'next';
    const live = await this.#deps.store.get(podType, session.metadata.name, { signal });
    if (live !== undefined) this.#replan(pass, live);
    return 'next';
  }

  async #deletePod({ observed, plan }: Pass, signal: AbortSignal): Promise<'next'> {
    const { pod } = observed;
    if (plan.action.do !== 'delete' || pod === undefined || this.#askedLately(pod.metadata.uid)) return 'next';
    const { name, uid } = pod.metadata;
    await this.#deps.store.delete(podType, name, { uid, signal });
    this.#asked.set(uid, this.#deps.clock.now());
    this.#deps.pods.forget(name);
    this.#deps.metrics.podsDeleted.inc({ because: plan.action.because });
    this.#deps.log.info({ session: name, podUid: uid, because: plan.action.because }, 'pod deleted');
    return 'next';
  }

  async #createPod(pass: Pass, signal: AbortSignal): Promise<'next'> {
    const { session, agentGroup } = pass.observed;
    if (pass.plan.action.do !== 'create' || agentGroup === undefined) return 'next';
    const { store, runtime, pods, metrics, reached, log } = this.#deps;
    const { name } = session.metadata;
    const wanted = buildPod(session, agentGroup, runtime, pass.plan.action.restarts);
    reached('controller/before-pod');
    try {
      // Not apply: on a Pod that still ends under this name, apply would succeed and start nothing.
      const pod = await store.create(podType, wanted, { fieldManager: FIELD_MANAGER, signal });
      pods.note(pod);
      pass.observed = { ...pass.observed, pod };
      metrics.podsCreated.inc();
      log.info({ session: name, podUid: pod.metadata.uid, agentGroup: agentGroup.metadata.name }, 'pod created');
    } catch (thrown) {
      if (thrown instanceof ForbiddenError || thrown instanceof InvalidError) {
        const message = `The cluster refuses its Pod: ${thrown.message}`;
        pass.plan = { ...pass.plan, view: { is: 'failed', reason: Reason.PodFailed, message } };
        pass.resyncMs = REFUSED_RETRY_MS;
        metrics.podsRefused.inc();
        return 'next';
      }
      if (!(thrown instanceof ConflictError)) throw thrown;
      // It is there, and the cache does not show it (yet).
      const live = await store.get(podType, name, { signal });
      if (live === undefined) throw thrown;
      await this.#adopt(pass, live, wanted.metadata.labels ?? {}, signal);
    }
    return 'next';
  }

  /** A Pod of this Session that lost the label by which we see it gets it back; everything else is looked at as it is. */
  async #adopt(pass: Pass, live: Pod, labels: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    const ours = live.metadata.ownerReferences?.some(({ uid }) => uid === pass.observed.session.metadata.uid) ?? false;
    if (ours && live.metadata.labels?.[Label.managedBy] !== MANAGED_BY) {
      const { name, uid } = live.metadata;
      await this.#deps.store.patch(podType, name, { metadata: { uid, labels } }, { fieldManager: FIELD_MANAGER, signal });
      this.#deps.log.info({ session: name, podUid: uid }, 'pod adopted');
    }
    this.#replan(pass, live);
    if (pass.plan.action.do === 'delete') await this.#deletePod(pass, signal);
  }

  async #writeStatus({ observed, plan }: Pass, signal: AbortSignal): Promise<'next'> {
    const { store, sessions, report, reached } = this.#deps;
    const { session, pod } = observed;
    const status = statusOf(observed, plan, pod);
    if (status === undefined || unchanged(session, status)) return 'next';
    reached('controller/after-pod-before-status');
    const written = await store.applyStatus(sessionType, session.metadata.name, status, { fieldManager: FIELD_MANAGER, signal });
    if (written === undefined) return 'next';
    sessions.note(written);
    report(session, written, ConditionType.Ready);
    return 'next';
  }

  #askedLately(uid: string): boolean {
    const since = this.#deps.clock.now() - ASK_AGAIN_MS;
    for (const [asked, at] of this.#asked) if (at < since) this.#asked.delete(asked);
    return this.#asked.has(uid);
  }

  #replan(pass: Pass, pod: Pod): void {
    pass.observed = { ...pass.observed, pod };
    pass.plan = plan(pass.observed);
    pass.resyncMs = pass.plan.resyncMs;
  }
}

function unchanged(session: Session, status: Session['status']): boolean {
  return jsonEqual(session.status, status);
}
