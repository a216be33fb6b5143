/** The Pod of an awake session. Pure: no clock, no randomness, no store. The only place that knows where a cell is mounted. */
import { createHash } from 'node:crypto';
import { type AgentGroup, API_VERSION, type Session } from '@dovecote/crds';
import { agentHomeSubPath, cellSubPaths } from '@dovecote/proto';
import type { Pod } from '../../kube/resource-types.ts';
import type { NewObject } from '../../kube/store.ts';
import { shardAddress } from '../../lib/shard-address.ts';
import { Annotation, agentObjectName, Component, Label, MANAGED_LABELS } from '../labels.ts';
import { resourcesOf } from './resources.ts';
import type { PodRuntime } from './runtime.ts';

/** The name of the one container. */
export const RUNNER = 'runner';

/** Delivery and runner share one uid and gid: with two, neither could snapshot or remove what the other made. */
const UID = 10_001;

/** As long as a turn gets to reach a step at which it can be left. */
export const GRACE_SECONDS = 60;

const TOKENS = '/var/run/dovecote/tokens';
const TOKEN_SECONDS = 3_600;
const SKILLS = '/skills';

/** The Pod of `session`. `restarts`: how many Pods of this wakefulness ended before it. */
export function buildPod(session: Session, agentGroup: AgentGroup, runtime: PodRuntime, restarts: number): NewObject<Pod> {
  const spec = buildSpec(session, agentGroup, runtime);
  const labels = {
    ...agentGroup.spec.podLabels,
    ...MANAGED_LABELS,
    'app.kubernetes.io/name': 'dovecote',
    [Label.component]: Component.session,
    [Label.session]: session.metadata.name,
    [Label.agentGroup]: session.spec.agentGroupRef,
    [Label.shard]: session.spec.shard,
  };
  return {
    metadata: {
      name: session.metadata.name,
      labels,
      annotations: { [Annotation.templateHash]: hashOf({ labels, spec }), [Annotation.restarts]: String(restarts) },
      ownerReferences: [
        {
          apiVersion: API_VERSION,
          kind: 'Session',
          name: session.metadata.name,
          uid: session.metadata.uid,
          controller: true,
          // A Session's deletion must not hang on a Pod whose node does not answer.
          blockOwnerDeletion: false,
        },
      ],
    },
    spec,
  };
}

/** Of a Pod that is there, or of one that would be made. */
export function templateHashOf({ metadata }: { readonly metadata: Pick<NewObject<Pod>['metadata'], 'annotations'> }): string | undefined {
  return metadata.annotations?.[Annotation.templateHash];
}

function buildSpec(session: Session, agentGroup: AgentGroup, runtime: PodRuntime): NewObject<Pod>['spec'] {
  const { name } = session.metadata;
  const { shard } = session.spec;
  const cell = cellSubPaths(name);
  const skills = (agentGroup.spec.skills ?? []).map(({ configMapRef }) => configMapRef).sort();
  return {
    restartPolicy: 'OnFailure',
    terminationGracePeriodSeconds: GRACE_SECONDS,
    serviceAccountName: agentObjectName(session.spec.agentGroupRef),
    automountServiceAccountToken: false,
    // Without it each Service of the namespace becomes variables in the environment of an agent's shell.
    enableServiceLinks: false,
    // As process 1 the runner would have to reap what commands leave behind, which Node cannot: each is a zombie for as long as the Pod
    // lives, until it may have no more processes. The Pod's own first process reaps them.
    shareProcessNamespace: true,
    ...(agentGroup.spec.runtimeClassName !== undefined && { runtimeClassName: agentGroup.spec.runtimeClassName }),
    ...(runtime.priorityClassName !== undefined && { priorityClassName: runtime.priorityClassName }),
    ...(runtime.tolerations !== undefined && { tolerations: runtime.tolerations }),
    ...(runtime.imagePullSecrets !== undefined && { imagePullSecrets: runtime.imagePullSecrets.map((secret) => ({ name: secret })) }),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: UID,
      runAsGroup: UID,
      fsGroup: UID,
      // Always would walk every file of the cell at each wake.
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    affinity: {
      podAffinity: {
        // SQLite is safe only when every opener of a file shares one kernel: the node of the shard's delivery, or none.
        requiredDuringSchedulingIgnoredDuringExecution: [
          {
            labelSelector: { matchLabels: { [Label.component]: Component.delivery, [runtime.shardLabel]: shard } },
            topologyKey: 'kubernetes.io/hostname',
          },
        ],
      },
    },
    containers: [
      {
        name: RUNNER,
        image: agentGroup.spec.image ?? runtime.image,
        ...(runtime.imagePullPolicy !== undefined && { imagePullPolicy: runtime.imagePullPolicy }),
        args: [
          ...['--session', name],
          ...['--in', '/cell/in', '--out', '/cell/out', '--workspace', '/workspace', '--home', '/agent'],
          ...['--attach', shardAddress(runtime.attach, shard), '--token', `${TOKENS}/delivery`],
          ...skills.flatMap((skill) => ['--skills', `${SKILLS}/${skill}`]),
          ...['--proxy', runtime.proxy, '--proxy-token', `${TOKENS}/proxy`],
          ...['--listen', runtime.listen, '--log-level', runtime.logLevel],
        ],
        env: [
          { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
          { name: 'HOME', value: '/workspace' },
          { name: 'TMPDIR', value: '/tmp' },
          { name: 'LANG', value: 'C.UTF-8' },
        ],
        ports: [{ name: 'container', containerPort: 9_090, protocol: 'TCP' }],
        resources: resourcesOf(agentGroup.spec.resources, runtime),
        securityContext: {
          allowPrivilegeEscalation: false,
          privileged: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        // The last lines of a crash are then in the Pod's status, where the Session's condition takes them from.
        terminationMessagePolicy: 'FallbackToLogsOnError',
        volumeMounts: [
          { name: 'shard', mountPath: '/cell/in', subPath: cell.in, readOnly: true },
          { name: 'shard', mountPath: '/cell/out', subPath: cell.out },
          { name: 'shard', mountPath: '/workspace', subPath: cell.workspace },
          { name: 'shard', mountPath: '/agent', subPath: agentHomeSubPath(session.spec.agentGroupUid) },
          { name: 'tmp', mountPath: '/tmp' },
          { name: 'tokens', mountPath: TOKENS, readOnly: true },
          ...skills.map((skill, n) => ({ name: `skill-${n}`, mountPath: `${SKILLS}/${skill}`, readOnly: true })),
        ],
      },
    ],
    volumes: [
      { name: 'shard', persistentVolumeClaim: { claimName: shardAddress(runtime.claim, shard) } },
      { name: 'tmp', emptyDir: { sizeLimit: runtime.tmpSize } },
      {
        name: 'tokens',
        projected: {
          sources: [
            { serviceAccountToken: { audience: 'dovecote-delivery', expirationSeconds: TOKEN_SECONDS, path: 'delivery' } },
            { serviceAccountToken: { audience: 'dovecote-proxy', expirationSeconds: TOKEN_SECONDS, path: 'proxy' } },
          ],
        },
      },
      // Optional: one that is missing is a condition of its AgentGroup, and no reason to leave people without an answer.
      ...skills.map((skill, n) => ({ name: `skill-${n}`, configMap: { name: skill, optional: true } })),
    ],
  };
}

/** The same for the same value whatever the order in which its keys were written. */
function hashOf(value: unknown): string {
  const sorted = (_key: string, inner: unknown): unknown =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner;
  return createHash('sha256').update(JSON.stringify(value, sorted)).digest('hex').slice(0, 16);
}
