/** What a container's process is called with on this machine. Pure. */
import type { Pod } from '../../kube/resource-types.ts';
import { type Mount, translate } from './volumes.ts';

export const POD_IP = '127.0.0.1';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * `program` stands for the image's entrypoint. The environment holds what the Pod says and `path`, and nothing of this process:
 * an API key that someone exported in his shell must not reach an agent's.
 */
export function commandOf(pod: Pod, mounts: readonly Mount[], program: readonly string[], path: string): Command {
  const container = pod.spec?.containers[0];
  const [file, ...before] = program;
  if (container === undefined || file === undefined)
    throw new Error(`cannot run Pod ${pod.metadata.name}: it has no container or there is no program`);
  const env: Record<string, string> = { PATH: path };
  for (const { name, value, valueFrom } of container.env ?? []) {
    env[name] = valueFrom?.fieldRef === undefined ? translate(value ?? '', mounts) : fieldOf(pod, valueFrom.fieldRef.fieldPath);
  }
  const args = (container.args ?? []).map((argument) => translate(expand(argument, env), mounts));
  return { file, args: [...before, ...args], env };
}

function fieldOf(pod: Pod, path: string): string {
  switch (path) {
    case 'status.podIP':
      return POD_IP;
    case 'metadata.name':
      return pod.metadata.name;
    case 'metadata.uid':
      return pod.metadata.uid;
    default:
      throw new Error(`cannot run Pod ${pod.metadata.name}: local mode does not know the field ${path}`);
  }
}

/** `$(NAME)` as a kubelet expands it: unknown names stay. */
function expand(argument: string, env: Readonly<Record<string, string>>): string {
  return argument.replace(/\$\(([A-Za-z_][A-Za-z0-9_]*)\)/g, (whole, name: string) => env[name] ?? whole);
}
