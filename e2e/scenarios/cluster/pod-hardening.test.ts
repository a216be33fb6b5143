/** What an agent finds in its Pod, and what it does not. */
import { expect } from '@jest/globals';
import { ModelEmulator } from '../../emulators/model.ts';
import { fact, get, kubectl, NAMESPACE } from '../../harness/cluster.ts';
import { agentGroup, clusterVerifies, sessionOf, untilAwake } from '../../harness/cluster-scenario.ts';

interface PodSpec {
  readonly automountServiceAccountToken?: boolean;
  readonly securityContext?: object;
  readonly volumes: readonly {
    readonly name: string;
    readonly projected?: { readonly sources: readonly object[] };
    readonly secret?: object;
  }[];
  readonly containers: readonly {
    readonly securityContext?: object;
    readonly resources?: { readonly limits?: Record<string, string> };
    readonly env?: readonly { readonly valueFrom?: { readonly secretKeyRef?: object } }[];
  }[];
}

clusterVerifies(
  'sec/pod-hardening',
  'a session Pod is restricted: not root, nothing to write but its own folders, no token of the cluster',
  async (scenario) => {
    const agent = scenario.name('agent');
    await scenario.agent({}, agent);
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('hello');
    await slack.answer(ts, 'You said: hello');
    const { name } = (await sessionOf(agent)).metadata;
    await untilAwake(name);
    expect(await kubectl('get', 'namespace', NAMESPACE, '-o', 'jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}')).toBe(
      'restricted',
    );

    const spec = (await get('pod', name))?.spec as unknown as PodSpec;
    const [container] = spec.containers;
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container?.securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(container?.resources?.limits?.['memory']).toBeDefined();
    expect(spec.volumes.filter(({ secret }) => secret !== undefined)).toEqual([]);
    const audiences = spec.volumes.flatMap(
      ({ projected }) => (projected?.sources ?? []) as { serviceAccountToken?: { audience?: string } }[],
    );
    expect(audiences.map(({ serviceAccountToken }) => serviceAccountToken?.audience).sort()).toEqual([
      'dovecote-delivery',
      'dovecote-proxy',
    ]);

    const inside = async (command: string): Promise<string> =>
      (await kubectl('exec', name, '--', 'sh', '-c', `(${command}) 2>&1; true`)).trim();
    expect(await inside('id -u')).toBe('10001');
    expect(await inside('touch /x')).toContain('Read-only file system');
    expect(await inside('ls /var/run/secrets/kubernetes.io')).toContain('No such file');
    expect(await inside('grep -hs CapEff /proc/[0-9]*/status | sort -u')).toMatch(/^CapEff:\s+0000000000000000$/);
    expect(await inside('grep NoNewPrivs /proc/self/status')).toMatch(/1$/);
    // Process 1 takes what the agent's commands leave behind: were it the runner, each would stay a zombie.
    expect(await inside('(sleep 0.1 &); sleep 1; grep -ls "^State:.Z" /proc/[0-9]*/status')).toBe('');
    expect(await inside('env | grep SERVICE_HOST= | cut -d= -f1')).toBe('KUBERNETES_SERVICE_HOST'); // which every Pod gets
    // The token for delivery is worth nothing at the API server.
    const answer = await inside(
      `node -e "process.env.NODE_TLS_REJECT_UNAUTHORIZED='0';fetch('https://kubernetes.default.svc/api/v1/namespaces/${NAMESPACE}/secrets',{headers:{authorization:'Bearer '+require('fs').readFileSync('/var/run/dovecote/tokens/delivery','utf8')}}).then(r=>console.log(r.status),e=>console.log(e.message))"`,
    );
    expect(answer).toContain('401');
  },
);

clusterVerifies(
  'sec/no-keys-in-pod',
  'the proxy puts the model key in, and no file, variable or process of the Pod holds it',
  async (scenario) => {
    const key = `sk-secret-${scenario.id}`;
    const model = await ModelEmulator.start(fact('HOST_IP'), key);
    scenario.later(() => model.close());
    model.mock.onMessage(/colour/, { content: 'The sky is blue.' });
    const agent = scenario.name('agent');
    await scenario.make({ apiVersion: 'v1', kind: 'Secret', metadata: { name: agent }, stringData: { 'api-key': key } });
    await scenario.agent(
      agentGroup(agent, {
        provider: { type: 'anthropic', anthropic: { baseURL: model.baseURL, credentialsRef: { name: agent } } },
        model: 'claude-test',
      })['spec'] as Record<string, unknown>,
      agent,
    );
    const { slack } = await scenario.slackChat(agent);
    const ts = await slack.say('what colour is the sky?');
    await slack.answer(ts, 'The sky is blue.'); // the model answers to its key alone
    const { name } = (await sessionOf(agent)).metadata;
    const look = `grep -rl -- '${key}' /cell /workspace /agent /tmp /var/run/dovecote /proc/[0-9]*/environ /proc/[0-9]*/cmdline /etc 2>/dev/null; echo looked`;
    expect((await kubectl('exec', name, '--', 'sh', '-c', look)).replace(/^\/proc\/\d+\/cmdline\n/gm, '').trim()).toBe('looked');
    // Nothing else of the provider's API is reached through the proxy, and nothing at all without the Pod's token.
    const status = await kubectl(
      'exec',
      name,
      '--',
      'node',
      '-e',
      `fetch('http://dovecote-proxy:8082/anthropic/v1/files',{headers:{'x-api-key':require('fs').readFileSync('/var/run/dovecote/tokens/proxy','utf8')}}).then(async r=>{console.log(r.status);const s=await fetch('http://dovecote-proxy:8082/anthropic/v1/messages',{method:'POST',body:'{}'});console.log(s.status)})`,
    );
    expect(status.trim().split('\n')).toEqual(['404', '401']);
  },
);
