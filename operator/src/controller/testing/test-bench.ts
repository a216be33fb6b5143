/** Test only: the whole controller on an embedded store, with the clock and the kubelet in the test's hands. */
import type { AgentGroup, Session } from '@dovecote/crds';
import { Registry } from 'prom-client';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { createKubeMetrics } from '../../kube/metrics.ts';
import { agentGroups, events, type KubeEvent, type Pod, pods, secrets, sessions } from '../../kube/resource-types.ts';
import type { NewObject } from '../../kube/store.ts';
import { noCrash, type Reached } from '../../lib/crash-point.ts';
import { silentLog } from '../../lib/log.ts';
import { ManualClock } from '../../lib/manual-clock.ts';
import { systemRandom } from '../../lib/random.ts';
import { sessionName } from '../../lib/session-name.ts';
import { type ControllerConfig, NETWORK_DEFAULTS, WORKERS_DEFAULT } from '../config.ts';
import { clusterRuntime } from '../session/runtime.ts';
import { type RunningController, startController } from '../start.ts';
import { CountingStore } from './counting-store.ts';

const DELIVERY = 'dovecote-delivery';
const PERSON = 'kubectl';

export interface PodReport {
  readonly phase?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly conditions?: readonly object[];
  readonly state?: object;
  readonly lastState?: object;
  readonly restartCount?: number;
}

export class TestBench {
  readonly clock = new ManualClock(Date.parse('2026-01-01T12:00:00Z'));
  readonly store: EmbeddedStore;
  readonly counting: CountingStore;
  readonly config: ControllerConfig;
  controller: RunningController | undefined;

  constructor(config: Partial<ControllerConfig> = {}) {
    this.store = new EmbeddedStore({ path: ':memory:', namespace: 'doves', clock: this.clock, random: systemRandom, log: silentLog });
    this.counting = new CountingStore(this.store);
    this.config = {
      shards: ['0'],
      runtime: clusterRuntime({
        image: 'localhost/dovecote-runner:1',
        attach: 'dovecote-delivery-{shard}.dovecote-delivery:7070',
        proxy: 'http://dovecote-proxy:8080',
      }),
      network: NETWORK_DEFAULTS,
      workers: WORKERS_DEFAULT,
      identity: 'controller-1',
      ...config,
    };
  }

  /** A controller that leads and has settled. */
  async start(reached: Reached = noCrash): Promise<RunningController> {
    const registry = new Registry();
    const { clock, counting: store, config } = this;
    this.controller = startController({
      store,
      config,
      clock,
      random: systemRandom,
      log: silentLog,
      registry,
      reached,
      kubeMetrics: createKubeMetrics(registry),
    });
    // Also past the first batch of what is told late: the counts of agents.
    await this.clock.advance(10_000);
    this.counting.takeWrites();
    return this.controller;
  }

  /** Its successor, told otherwise. */
  async restart(config: Partial<ControllerConfig> = {}): Promise<void> {
    await this.stop();
    Object.assign(this.config, config);
    await this.start();
  }

  async stop(): Promise<void> {
    const closing = this.controller?.close();
    await this.clock.advance(10_000);
    await closing;
  }

  async close(): Promise<void> {
    const closing = this.controller?.close();
    await this.clock.advance(30_000);
    await closing;
    await this.store.close();
  }

  /** Everything that is due now has its consequences; then `ms` pass. */
  advance(ms = 0): Promise<void> {
    return this.clock.advance(ms);
  }

  async agentGroup(name: string, spec: NewObject<AgentGroup>['spec'] = { provider: { type: 'demo' } }): Promise<AgentGroup> {
    return this.store.apply(agentGroups, { metadata: { name }, spec }, { fieldManager: PERSON });
  }

  async secret(name: string, values: Readonly<Record<string, string>>): Promise<void> {
    const data = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
    await this.store.apply(secrets, { metadata: { name }, data }, { fieldManager: PERSON });
  }

  /** A Session as delivery makes it. Answers with its name. */
  async session(agentGroup: AgentGroup, options: { awake?: boolean; scope?: string; shard?: string } = {}): Promise<string> {
    const scope = options.scope ?? 'local/main';
    const { name: agentGroupRef, uid } = agentGroup.metadata;
    const name = sessionName(agentGroupRef, uid, scope, 1);
    await this.store.create(
      sessions,
      {
        metadata: {
          name,
          ownerReferences: [
            {
              apiVersion: agentGroup.apiVersion,
              kind: 'AgentGroup',
              name: agentGroupRef,
              uid,
              controller: true,
              blockOwnerDeletion: false,
            },
          ],
        },
        spec: { agentGroupRef, agentGroupUid: uid, shard: options.shard ?? '0', scope, awake: options.awake ?? false },
      },
      { fieldManager: DELIVERY },
    );
    return name;
  }

  async awake(name: string, awake: boolean): Promise<void> {
    await this.store.patch(sessions, name, { spec: { awake } }, { fieldManager: DELIVERY });
    await this.advance();
  }

  async look(name: string): Promise<Session> {
    const session = await this.store.get(sessions, name);
    if (session === undefined) throw new Error(`there is no Session ${name}`);
    return session;
  }

  pod(name: string): Promise<Pod | undefined> {
    return this.store.get(pods, name);
  }

  async mustPod(name: string): Promise<Pod> {
    const pod = await this.pod(name);
    if (pod === undefined) throw new Error(`there is no Pod ${name}`);
    return pod;
  }

  /** What the kubelet says of the Pod. */
  async kubelet(name: string, { state, lastState, restartCount = 0, ...report }: PodReport): Promise<void> {
    const containerStatuses =
      state === undefined
        ? []
        : [{ name: 'runner', image: 'x', imageID: '', ready: 'running' in state, restartCount, state, ...(lastState && { lastState }) }];
    await this.store.applyStatus(pods, name, { phase: 'Running', ...report, containerStatuses }, { fieldManager: 'kubelet' });
    await this.advance();
  }

  async runs(name: string, more: PodReport = {}): Promise<void> {
    await this.kubelet(name, { state: { running: { startedAt: this.time() } }, ...more });
  }

  /** The process has ended: the kubelet removes a Pod that is being deleted. */
  async podGone(name: string): Promise<void> {
    await this.store.delete(pods, name, { gracePeriodSeconds: 0 });
    await this.advance();
  }

  /** A session whose Pod runs, all settled and all writes so far forgotten. */
  async awakeSession(agentGroup: AgentGroup): Promise<string> {
    const name = await this.session(agentGroup, { awake: true });
    await this.advance();
    await this.runs(name);
    await this.advance(11_000);
    this.counting.takeWrites();
    return name;
  }

  /** In the order in which they were written. */
  async events(): Promise<readonly KubeEvent[]> {
    const { items } = await this.store.list(events);
    return items.toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
  }

  time(offsetMs = 0): string {
    return new Date(this.clock.now() + offsetMs).toISOString().replace(/\.\d+Z$/, 'Z');
  }
}

/** `Ready=True/Awake Active=True/Awake`: what a person sees first. */
export function told(object: {
  readonly status?: { readonly conditions?: readonly { type: string; status: string; reason: string }[] | undefined } | undefined;
}): string {
  return (object.status?.conditions ?? []).map(({ type, status, reason }) => `${type}=${status}/${reason}`).join(' ');
}
