/** The contract on a real API server: only where KUBECONFIG_UNDER_TEST names one that may be written to. Faults: reflector.test.ts. */

import { describe, test } from '@jest/globals';
import { CoreV1Api } from '@kubernetes/client-node';
import { systemClock } from '../lib/clock.ts';
import { systemRandom } from '../lib/random.ts';
import { ApiServerStore } from './api-server.ts';
import { resourceStoreContract } from './contract.test-suite.ts';
import { loadKubeConfig } from './credentials.ts';
import { pods, serviceAccounts } from './resource-types.ts';

const path = process.env['KUBECONFIG_UNDER_TEST'];

if (path === undefined) {
  describe('api-server store keeps the ResourceStore contract', () => {
    test.skip('on the cluster of KUBECONFIG_UNDER_TEST, which is not set', () => {});
  });
} else {
  const kubeConfig = loadKubeConfig({ path });
  resourceStoreContract('api-server store', async () => {
    const namespace = `contract-${systemRandom.id(8)}`;
    const namespaces = kubeConfig.makeApiClient(CoreV1Api);
    await namespaces.createNamespace({ body: { metadata: { name: namespace } } });
    const store = new ApiServerStore({ kubeConfig, namespace, clock: systemClock, random: systemRandom });
    // Pods are refused until the controller manager has made it.
    while ((await store.get(serviceAccounts, 'default')) === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    return {
      store,
      dispose: async () => {
        // Without a kubelet nobody ends them, and the namespace would never go.
        for (const { metadata } of (await store.list(pods)).items) await store.delete(pods, metadata.name, { gracePeriodSeconds: 0 });
        await store.close();
        await namespaces.deleteNamespace({ name: namespace });
      },
      forgottenVersion: async () => '1',
    };
  });
}
