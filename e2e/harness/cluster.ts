/** kubectl and helm for the scenarios: on the cluster that KUBECONFIG names, in the one namespace of the installation under test. */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.ts';

export const root: string = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Where Dovecote is installed for the whole run. */
export const NAMESPACE = 'dovecote-e2e';
/** Its Helm release. */
export const RELEASE = 'dovecote';

/** One of the facts that hack/with-cluster.ts gives. Throws for one that this cluster does not have. */
export function fact(name: 'HOST_IP' | 'NODE_IP' | 'DOVECOTE_OPERATOR_IMAGE' | 'DOVECOTE_RUNNER_IMAGE' | 'CLUSTER_AUDIT_LOG'): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set: run the scenarios through make e2e`);
  return value;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. */
export function execute(command: string, args: readonly string[], input = '', env: NodeJS.ProcessEnv = process.env): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.stdin.on('error', () => {}); // it ended without reading everything: its exit code says why
    child.stdin.end(input);
    child.once('error', (e) => reject(new Error(`cannot run ${command}: ${e.message}`, { cause: e })));
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

async function succeed(command: string, args: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await execute(command, args, input);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${stderr.trim() || stdout.trim()}`);
  return stdout;
}

/** kubectl in the namespace of the installation; its stdout. */
export const kubectl = (...args: readonly string[]): Promise<string> => succeed('kubectl', ['--namespace', NAMESPACE, ...args]);
export const helm = (...args: readonly string[]): Promise<string> => succeed('helm', ['--namespace', NAMESPACE, ...args]);

export type Json = Record<string, unknown>;

/** An object as the scenarios look at it. */
export interface KubeObject extends Json {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly namespace?: string;
    readonly generation?: number;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
    readonly finalizers?: readonly string[];
  };
  readonly spec?: Json;
  readonly status?: Json;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
}

/** Server-side apply, as the scenarios' own field manager. */
export async function apply(...objects: readonly Json[]): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  await succeed('kubectl', ['--namespace', NAMESPACE, 'apply', '--server-side', '--field-manager=e2e', '-f', '-'], JSON.stringify(list));
}

/** undefined: it does not exist. */
export async function get(kind: string, name: string): Promise<KubeObject | undefined> {
  const found = await kubectl('get', kind, name, '--ignore-not-found', '-o', 'json');
  return found.trim() === '' ? undefined : (JSON.parse(found) as KubeObject);
}

export async function list(kind: string, ...args: readonly string[]): Promise<readonly KubeObject[]> {
  return (JSON.parse(await kubectl('get', kind, '-o', 'json', ...args)) as { items: KubeObject[] }).items;
}

/** Waits until the object is as `be` says, and gives it. */
export function untilObject(
  kind: string,
  name: string,
  what: string,
  be: (object: KubeObject) => boolean,
  timeoutMs = 60_000,
): Promise<KubeObject> {
  return until(
    `${kind} ${name} ${what}`,
    async () => {
      const object = await get(kind, name);
      return object !== undefined && be(object) ? object : undefined;
    },
    timeoutMs,
  );
}

export const untilGone = (kind: string, name: string, timeoutMs = 60_000): Promise<true> =>
  until(`${kind} ${name} is gone`, async () => (await get(kind, name)) === undefined, timeoutMs);

export function conditionsOf(object: KubeObject | undefined): readonly Condition[] {
  return (object?.status?.['conditions'] as Condition[] | undefined) ?? [];
}

export const conditionOf = (object: KubeObject | undefined, type: string): Condition | undefined =>
  conditionsOf(object).find((condition) => condition.type === type);

/** Waits until a condition has this status and, when given, reason. */
export function untilCondition(
  kind: string,
  name: string,
  type: string,
  status: string,
  reason?: string,
  timeoutMs = 60_000,
): Promise<KubeObject> {
  return untilObject(
    kind,
    name,
    `has ${type}=${status}${reason === undefined ? '' : ` (${reason})`}`,
    (object) => {
      const condition = conditionOf(object, type);
      return condition?.status === status && (reason === undefined || condition.reason === reason);
    },
    timeoutMs,
  );
}

/** The ready Pods of one of our roles. */
export async function podsOf(role: 'controller' | 'gateway' | 'delivery' | 'proxy'): Promise<readonly KubeObject[]> {
  const pods = await list('pods', '-l', `app.kubernetes.io/instance=${RELEASE},app.kubernetes.io/component=${role}`);
  return pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && conditionOf(pod, 'Ready')?.status === 'True');
}

/** Waits until each role has as many ready Pods as it is to have. */
export async function untilInstallationReady(timeoutMs = 120_000): Promise<void> {
  await until(
    'every Pod of the installation is ready',
    async () => {
      const sets = [...(await list('deployments')), ...(await list('statefulsets'))];
      return sets.every(({ metadata, spec, status }) => {
        const wanted = spec?.['replicas'] as number;
        return (
          status?.['observedGeneration'] === metadata.generation &&
          (status?.['readyReplicas'] ?? 0) === wanted &&
          (status?.['updatedReplicas'] ?? wanted) === wanted &&
          (status?.['replicas'] ?? 0) === wanted
        );
      });
    },
    timeoutMs,
  );
}

let gateway: string | undefined;

/** URL of the gateway from this machine: its NodePort. */
export async function gatewayUrl(): Promise<string> {
  gateway ??= `http://${fact('NODE_IP')}:${await kubectl('get', 'service', `${RELEASE}-gateway`, '-o', 'jsonpath={.spec.ports[0].nodePort}')}`;
  return gateway;
}

/** What a role's Pods logged, as records; Pods that are gone are not in it. */
export async function logsOf(role: string): Promise<readonly Json[]> {
  const selector = `app.kubernetes.io/instance=${RELEASE},app.kubernetes.io/component=${role}`;
  const text = await kubectl('logs', '-l', selector, '--tail=-1', '--max-log-requests=20', '--ignore-errors');
  return text.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Json];
    } catch {
      return []; // not a record: the last words of a crash
    }
  });
}
