/**
 * On the cluster that KUBECONFIG names, with Dovecote in the scenarios' namespace: what a wake takes and costs there, and what a Pod
 * takes that does nothing. HOST_IP is where Pods reach this process.
 */
import { apply, fact, gatewayUrl, type Json, kubectl, list, RELEASE, untilCondition } from '../harness/cluster.ts';
import { auditMark, auditReadable, callsSince } from '../harness/cluster-audit.ts';
import { until } from '../harness/until.ts';
import { type WritesByChange, writesByChange } from './api-writes.ts';
import { percentile, type Result, summarise } from './sample.ts';
import { BENCH_SECRET, SlackShaped } from './slack-shaped.ts';

const NAME = 'bench';
const API_VERSION = 'dovecote.dev/v1alpha1';
const object = (kind: string, spec: Json, apiVersion = API_VERSION): Json => ({ apiVersion, kind, metadata: { name: NAME }, spec });

export async function clusterMeasures(quick: boolean): Promise<Result[]> {
  const slack = await SlackShaped.start(fact('HOST_IP'));
  await apply(
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: NAME }, stringData: { 'bot-token': 'xoxb', 'signing-secret': BENCH_SECRET } },
    object('AgentGroup', { provider: { type: 'demo' }, idleTimeout: '2s' }),
    object('Channel', { type: 'slack', slack: { mode: 'Webhook', apiURL: `${slack.url}/api/`, credentialsRef: { name: NAME } } }),
    object('MessagingGroup', {
      channelRef: NAME,
      chatClass: 'Any',
      unknownSenders: 'Public',
      agents: [{ agentGroupRef: NAME, engage: { mode: 'Always' } }],
    }),
  );
  try {
    await untilCondition('agentgroup', NAME, 'Ready', 'True');
    await untilCondition('channel', NAME, 'Connected', 'True');
    await untilCondition('messaginggroup', NAME, 'Ready', 'True');
    const gateway = { url: await gatewayUrl() };
    const webhook = `${gateway.url}/channels/${NAME}`;
    await slack.connected(gateway, webhook);
    const asleep = (): Promise<unknown> =>
      until('its Pod is gone', async () => (await list('pod', '-l', 'dovecote.dev/agent-group=bench')).length === 0, 120_000);
    await slack.roundTrip(gateway, 'CBENCH', 'first.', webhook);
    const cold: number[] = [];
    const writes: WritesByChange[] = [];
    const [session] = await list('session', '-l', `dovecote.dev/agent-group=${NAME}`);
    for (let n = 0; n < (quick ? 3 : 12); n += 1) {
      await asleep();
      const mark = auditReadable() ? auditMark() : 0;
      cold.push(await slack.roundTrip(gateway, 'CBENCH', `cold-${n}.`, webhook));
      await asleep();
      if (auditReadable()) writes.push(writesByChange(callsSince(mark), session?.metadata.name ?? ''));
    }
    const bare: number[] = [];
    const empty: number[] = [];
    const mounted: number[] = [];
    for (let n = 0; n < (quick ? 3 : 12); n += 1) {
      bare.push(await barePod(slack, `bare-${n}`, {}, {}));
      empty.push(await barePod(slack, `empty-${n}`, NO_TOKEN, {}));
      mounted.push(await barePod(slack, `mounted-${n}`, { ...NO_TOKEN, volumes: VOLUMES }, { volumeMounts: MOUNTS }));
    }
    return [
      summarise('cluster, cold: event sent to platform called', 'ms', cold),
      summarise('cluster: a bare Pod, as kubectl run makes it, apply to JavaScript', 'ms', bare),
      summarise('cluster: the same without its token, and so without any volume', 'ms', empty),
      summarise('cluster: the same with the volumes of a session', 'ms', mounted),
      summarise('cluster: cold wake over bare Pod', 'ratio', [percentile(cold, 0.5) / percentile(bare, 0.5)]),
      summarise('cluster: cold wake over bare Pod with the volumes', 'ratio', [percentile(cold, 0.5) / percentile(mounted, 0.5)]),
      ...(writes.length > 0 ? apiWrites(writes) : []),
    ];
  } finally {
    await kubectl('delete', 'messaginggroup,channel,agentgroup,secret', NAME, '--ignore-not-found', '--wait=false');
    await slack.close();
  }
}

/** At most two of ours for each change of a session's state; what Kubernetes itself writes for any Pod stands apart. */
function apiWrites(writes: readonly WritesByChange[]): Result[] {
  const of = (what: string, count: (one: WritesByChange) => number): Result =>
    summarise(`cluster: API writes, ${what}`, 'writes', writes.map(count));
  return [
    of('asleep to waking', (one) => one.asleepToWaking),
    of('waking to awake', (one) => one.wakingToAwake),
    of('awake to draining', (one) => one.awakeToDraining),
    of('draining to asleep', (one) => one.drainingToAsleep),
    of('of ours for all sessions at once', (one) => one.shared),
    of('of Kubernetes for the Pod of a wake and a sleep', (one) => one.ofKubernetes),
  ];
}

/** As the Pod builder mounts them, of a cell that nobody has. The kubelet takes its time for any volume. */
const VOLUMES = [
  { name: 'shard', persistentVolumeClaim: { claimName: `data-${RELEASE}-delivery-0` } },
  { name: 'tmp', emptyDir: {} },
  {
    name: 'tokens',
    projected: { sources: [{ serviceAccountToken: { audience: 'bench', expirationSeconds: 3_600, path: 'token' } }] },
  },
];
const MOUNTS = [
  { name: 'shard', mountPath: '/cell/in', subPath: 'bench/in', readOnly: true },
  { name: 'shard', mountPath: '/cell/out', subPath: 'bench/out' },
  { name: 'shard', mountPath: '/workspace', subPath: 'bench/workspace' },
  { name: 'shard', mountPath: '/agent', subPath: 'bench/agent' },
  { name: 'tmp', mountPath: '/tmp' },
  { name: 'tokens', mountPath: '/tokens', readOnly: true },
];

const NO_TOKEN: Json = { automountServiceAccountToken: false };

/** ms from kubectl's return to the first line of JavaScript in the runner's image. */
async function barePod(slack: SlackShaped, id: string, pod: Json, container: Json): Promise<number> {
  const name = `bench-${id}`;
  const word = `${id}.`;
  const program = `fetch('${slack.url}/api/chat.postMessage', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text: '${word}' }) })`;
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      ...pod,
      restartPolicy: 'Never',
      securityContext: { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          ...container,
          name: 'bare',
          image: fact('DOVECOTE_RUNNER_IMAGE'),
          imagePullPolicy: 'IfNotPresent',
          command: ['node', '-e', program],
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  });
  const began = performance.now();
  const took = (await slack.arrival(word)) - began;
  await kubectl('delete', 'pod', name, '--wait=false', '--grace-period=0', '--force');
  return took;
}
