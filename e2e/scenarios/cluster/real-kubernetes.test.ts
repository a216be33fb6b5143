/** Where these scenarios run: a real API server with a real kubelet, whoever started it. */
import { expect } from '@jest/globals';
import { kubectl, NAMESPACE } from '../../harness/cluster.ts';
import { clusterVerifies } from '../../harness/cluster-scenario.ts';

clusterVerifies(
  'dev/cluster',
  'a real Kubernetes runs the installation: its node is ready, and our processes are containers of its kubelet',
  async () => {
    const { items: nodes } = JSON.parse(await kubectl('get', 'nodes', '-o', 'json')) as {
      items: {
        status: { conditions: { type: string; status: string }[]; nodeInfo: { kubeletVersion: string; containerRuntimeVersion: string } };
      }[];
    };
    const ready = nodes.filter(({ status }) => status.conditions.some(({ type, status: state }) => type === 'Ready' && state === 'True'));
    expect(ready.length).toBeGreaterThan(0);
    expect(ready[0]?.status.nodeInfo.kubeletVersion).toMatch(/^v1\.[0-9]+/);
    const { items: pods } = JSON.parse(
      await kubectl('get', 'pods', '-n', NAMESPACE, '-l', 'app.kubernetes.io/name=dovecote', '-o', 'json'),
    ) as {
      items: { metadata: { labels: Record<string, string> }; status: { containerStatuses?: { containerID?: string; ready: boolean }[] } }[];
    };
    const running = pods.filter(({ status }) =>
      status.containerStatuses?.every(({ containerID, ready: up }) => up && (containerID ?? '') !== ''),
    );
    const roles = new Set(running.map(({ metadata }) => metadata.labels['app.kubernetes.io/component']));
    for (const role of ['controller', 'gateway', 'delivery', 'proxy']) expect(roles).toContain(role);
  },
);
