/** The node itself, to break parts of it: hack/cluster's namespaces, or kind's container. */

import { join } from 'node:path';
import { execute, type Ran, root } from './cluster.ts';

/** False on a cluster whose nodes are not ours to break. */
export const nodeReachable = (): boolean => process.env['CLUSTER_STATE'] !== undefined || process.env['CLUSTER_NODE'] !== undefined;

/** Runs a command on the node, whatever its exit code. */
export function onNode(...command: readonly string[]): Promise<Ran> {
  const state = process.env['CLUSTER_STATE'];
  if (state !== undefined) return execute(join(root, 'hack/cluster/enter'), ['--state', state, '--', ...command]);
  const node = process.env['CLUSTER_NODE'];
  if (node !== undefined) return execute('docker', ['exec', node, ...command]);
  throw new Error('the node cannot be entered: neither CLUSTER_STATE nor CLUSTER_NODE is set');
}

async function signalKubelet(signal: 'STOP' | 'CONT'): Promise<void> {
  const { code, stderr } = await onNode('pkill', `-${signal}`, '-x', 'kubelet');
  if (code !== 0) throw new Error(`the kubelet could not be sent SIG${signal}: ${stderr}`);
}

/** The kubelet stands still while `work` runs: Pods go on, but nobody tells of them, starts or ends them. */
export async function withKubeletStopped(work: () => Promise<void>): Promise<void> {
  await signalKubelet('STOP');
  try {
    await work();
  } finally {
    await signalKubelet('CONT');
  }
}

/**
 * A signal to every process on the node whose command line matches. KILL: nothing of it gets to say goodbye. STOP: it stands still and
 * knows nothing of the time that passes, until CONT.
 */
export async function signalOnNode(signal: 'KILL' | 'STOP' | 'CONT', pattern: string): Promise<void> {
  const { code, stderr } = await onNode('pkill', `-${signal}`, '-f', pattern);
  if (code !== 0) throw new Error(`no process on the node matches ${pattern}, so none got SIG${signal}: ${stderr}`);
}

export const killOnNode = (pattern: string): Promise<void> => signalOnNode('KILL', pattern);
