/**
 * A Kubernetes for the scenarios, with Dovecote's images on it: the one that KUBECONFIG names, else kind where Docker runs, else one
 * built from source (hack/cluster). What it made it takes away again, also after Ctrl-C. Progress goes to stderr.
 *
 * With KUBECONFIG the images must be where its nodes find them: DOVECOTE_OPERATOR_IMAGE and DOVECOTE_RUNNER_IMAGE name them
 * (localhost/dovecote-operator:dev and localhost/dovecote-runner:dev when absent, for nodes into which they were loaded).
 */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const OPERATOR = 'localhost/dovecote-operator:dev';
const RUNNER = 'localhost/dovecote-runner:dev';

/**
 * What the scenarios are told, beside KUBECONFIG and a PATH with kubectl and helm:
 * HOST_IP               the address of this machine at which Pods reach what listens on it
 * NODE_IP               the address of a node, for NodePorts
 * CLUSTER_STATE         folder of a cluster of hack/cluster; absent for any other
 * CLUSTER_NODE          name of kind's container; absent for any other
 * CLUSTER_AUDIT_LOG     the API server's audit log; absent when nobody can read it
 * DOVECOTE_OPERATOR_IMAGE, DOVECOTE_RUNNER_IMAGE
 */
export type ClusterEnv = Record<string, string>;

interface Made {
  readonly env: ClusterEnv;
  readonly remove: () => Promise<void>;
}

const say = (sentence: string): void => void process.stderr.write(`${sentence}\n`);

/** Runs a program; its stdout, trimmed. Rejects with the end of what it said when it fails. */
function output(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
  return new Promise((resolve, reject) => {
    // A group of its own: Ctrl-C reaches us alone, and we end things in order.
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    child.once('error', (e) => reject(new Error(`cannot run ${command}: ${e.message}`, { cause: e })));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(out.trim());
      else reject(new Error(`${[command, ...args].join(' ')} ended with ${signal ?? code}:\n${err.slice(-2_000)}`));
    });
  });
}

const works = (command: string, ...args: string[]): Promise<boolean> =>
  output(command, args).then(
    () => true,
    () => false,
  );

/** The local address from which this machine reaches another: the one at which Pods of a cluster on this machine reach us. */
function addressTowards(host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.connect(9, host, () => {
      const { address } = socket.address();
      socket.close();
      resolve(address);
    });
  });
}

async function withTools(): Promise<string> {
  const path = process.env['PATH'] ?? '';
  if ((await works('kubectl', 'version', '--client')) && (await works('helm', 'version'))) return path;
  say('kubectl or helm is not on PATH: building them');
  return `${await buildFromSource()}/bin:${path}`;
}

/** The folder of everything built. */
async function buildFromSource(): Promise<string> {
  const build = join(root, 'hack/cluster/build');
  await output(build, []);
  return output(build, ['--print']);
}

async function given(): Promise<Made> {
  const PATH = await withTools();
  const kubectl = (...args: string[]): Promise<string> => output('kubectl', args, { ...process.env, PATH });
  const server = new URL(await kubectl('config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}'));
  const nodeIp = await kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}');
  const env = (name: string): ClusterEnv => (process.env[name] === undefined ? {} : { [name]: process.env[name] });
  return {
    env: {
      PATH,
      NODE_IP: nodeIp,
      HOST_IP: await addressTowards(server.hostname === '127.0.0.1' || server.hostname === 'localhost' ? nodeIp : server.hostname),
      DOVECOTE_OPERATOR_IMAGE: OPERATOR,
      DOVECOTE_RUNNER_IMAGE: RUNNER,
      ...env('NODE_IP'),
      ...env('HOST_IP'),
      ...env('CLUSTER_STATE'),
      ...env('CLUSTER_NODE'),
      ...env('CLUSTER_AUDIT_LOG'),
      ...env('DOVECOTE_OPERATOR_IMAGE'),
      ...env('DOVECOTE_RUNNER_IMAGE'),
    },
    remove: async () => {},
  };
}

async function images(): Promise<string[]> {
  say('building the images');
  return (await output(join(root, 'hack/images/build'), ['operator', 'runner'])).split('\n');
}

async function kind(): Promise<Made> {
  const name = `dovecote-e2e-${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-kind-'));
  const kubeconfig = join(folder, 'kubeconfig');
  const remove = async (): Promise<void> => {
    await output('kind', ['delete', 'cluster', '--name', name, '--kubeconfig', kubeconfig]);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    mkdirSync(join(folder, 'audit'));
    const apiServer = {
      kind: 'ClusterConfiguration',
      apiServer: {
        extraArgs: { 'audit-policy-file': '/etc/kubernetes/policies/audit-policy.yaml', 'audit-log-path': '/var/log/kubernetes/audit.log' },
        extraVolumes: [
          { name: 'policies', hostPath: '/etc/kubernetes/policies', mountPath: '/etc/kubernetes/policies', readOnly: true },
          { name: 'audit', hostPath: '/var/log/kubernetes', mountPath: '/var/log/kubernetes', readOnly: false },
        ],
      },
    };
    const node = {
      role: 'control-plane',
      kubeadmConfigPatches: [JSON.stringify(apiServer)],
      extraMounts: [
        {
          hostPath: join(root, 'hack/cluster/config/audit-policy.yaml'),
          containerPath: '/etc/kubernetes/policies/audit-policy.yaml',
          readOnly: true,
        },
        { hostPath: join(folder, 'audit'), containerPath: '/var/log/kubernetes' },
      ],
    };
    writeFileSync(join(folder, 'kind.json'), JSON.stringify({ kind: 'Cluster', apiVersion: 'kind.x-k8s.io/v1alpha4', nodes: [node] }));
    say('starting a cluster with kind');
    await output('kind', ['create', 'cluster', '--name', name, '--kubeconfig', kubeconfig, '--config', join(folder, 'kind.json')]);
    for (const archive of await images()) await output('kind', ['load', 'image-archive', archive, '--name', name]);
    const container = `${name}-control-plane`;
    const network = '{{ .NetworkSettings.Networks.kind.IPAddress }} {{ .NetworkSettings.Networks.kind.Gateway }}';
    const [nodeIp = '', hostIp = ''] = (await output('docker', ['inspect', '--format', network, container])).split(' ');
    return {
      env: {
        PATH: await withTools(),
        KUBECONFIG: kubeconfig,
        NODE_IP: nodeIp,
        HOST_IP: hostIp,
        CLUSTER_NODE: container,
        CLUSTER_AUDIT_LOG: join(folder, 'audit/audit.log'),
        DOVECOTE_OPERATOR_IMAGE: OPERATOR,
        DOVECOTE_RUNNER_IMAGE: RUNNER,
      },
      remove,
    };
  } catch (e) {
    await remove().catch((late: unknown) => say(String(late)));
    throw e;
  }
}

async function fromSource(): Promise<Made> {
  const state = mkdtempSync(join(tmpdir(), 'dovecote-cluster-'));
  const script = (name: string, ...args: string[]): Promise<string> => output(join(root, 'hack/cluster', name), args);
  const remove = async (): Promise<void> => {
    say('stopping the cluster');
    await script('down', '--state', state);
    rmSync(state, { recursive: true, force: true }); // empty and unmarked when it never came up
  };
  try {
    say('building Kubernetes from source (once; minutes)');
    const cache = await buildFromSource();
    say('starting a cluster');
    const name = `e2e-${process.pid}`;
    await script('up', '--name', name, '--state', state);
    await script('load', '--state', state, ...(await images()));
    const facts = Object.fromEntries(
      readFileSync(join(state, 'env'), 'utf8')
        .split('\n')
        .map((line) => line.split('=')),
    ) as ClusterEnv;
    return {
      env: {
        PATH: `${cache}/bin:${process.env['PATH'] ?? ''}`,
        KUBECONFIG: join(state, 'kubeconfig'),
        NODE_IP: facts['NODE_IP'] ?? '',
        HOST_IP: facts['HOST_IP'] ?? '',
        CLUSTER_STATE: state,
        CLUSTER_AUDIT_LOG: join(state, 'audit.log'),
        DOVECOTE_OPERATOR_IMAGE: OPERATOR,
        DOVECOTE_RUNNER_IMAGE: RUNNER,
      },
      remove,
    };
  } catch (e) {
    await remove().catch((late: unknown) => say(String(late)));
    throw e;
  }
}

/** Gives `run` a cluster, and takes it away when `run` has ended or someone interrupts. Answers with what `run` answers. */
export async function withCluster(run: (env: ClusterEnv) => Promise<number>): Promise<number> {
  let interrupted: NodeJS.Signals | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    // What runs now ends by itself or by the same signal; the cluster is taken away behind it, below.
    interrupted ??= signal;
    say(`${signal}: the cluster is taken away first`);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  let made: Made | undefined;
  try {
    made =
      process.env['KUBECONFIG'] !== undefined
        ? await given()
        : (await works('docker', 'info')) && (await works('kind', 'version'))
          ? await kind()
          : await fromSource();
    if (interrupted !== undefined) return 130;
    const noProxy = [process.env['NO_PROXY'], made.env['NODE_IP'], made.env['HOST_IP']].filter((part) => part !== undefined && part !== '');
    return await run({ ...made.env, NO_PROXY: noProxy.join(','), no_proxy: noProxy.join(',') });
  } finally {
    await made?.remove();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
