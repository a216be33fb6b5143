/** Where a Pod's mounts are on this machine, and the files that a kubelet puts into them. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import type { ConfigMap, Pod } from '../../kube/resource-types.ts';

export interface VolumeDeps {
  /** The folder that stands for a PersistentVolumeClaim; undefined: there is no such claim. */
  readonly claimRoot: (claimName: string) => string | undefined;
  /** undefined: there is no such ConfigMap */
  readonly configMap: (name: string) => Promise<Pick<ConfigMap, 'data' | 'binaryData'> | undefined>;
  readonly mintToken: (pod: Pod, audience: string) => string | Promise<string>;
}

/** From a path in the container to a path on this machine. */
export interface Mount {
  readonly mountPath: string;
  readonly hostPath: string;
}

/** Makes what the mounts of the first container need. Throws an Error that names the volume. `podDir`: what belongs to this Pod only. */
export async function mountVolumes(pod: Pod, podDir: string, deps: VolumeDeps): Promise<readonly Mount[]> {
  const roots = new Map<string, string>();
  for (const volume of pod.spec?.volumes ?? []) {
    const own = join(podDir, 'volumes', volume.name);
    if (volume.persistentVolumeClaim !== undefined) {
      const { claimName } = volume.persistentVolumeClaim;
      const root = deps.claimRoot(claimName);
      if (root === undefined) throw new Error(`cannot mount volume ${volume.name}: there is no PersistentVolumeClaim ${claimName}`);
      roots.set(volume.name, root);
    } else if (volume.emptyDir !== undefined || volume.projected !== undefined) {
      await mkdir(own, { recursive: true, mode: 0o700 });
      roots.set(volume.name, own);
    } else if (volume.configMap !== undefined) {
      const { name = '', optional } = volume.configMap;
      const found = await deps.configMap(name);
      if (found === undefined && optional !== true) throw new Error(`cannot mount volume ${volume.name}: there is no ConfigMap ${name}`);
      await writeFiles(own, found ?? {});
      roots.set(volume.name, own);
    } else {
      throw new Error(`cannot mount volume ${volume.name}: local mode knows persistentVolumeClaim, configMap, emptyDir and projected`);
    }
  }
  await writeTokens(pod, podDir, deps);
  const mounts: Mount[] = [];
  for (const { name, mountPath, subPath } of pod.spec?.containers[0]?.volumeMounts ?? []) {
    const root = roots.get(name);
    if (root === undefined) throw new Error(`cannot mount ${mountPath}: the Pod has no volume ${name}`);
    const hostPath = join(root, inside(subPath ?? ''));
    await mkdir(hostPath, { recursive: true, mode: 0o700 });
    mounts.push({ mountPath, hostPath });
  }
  // The longest first: /cell/in is not below a mount of /cell.
  return mounts.sort((a, b) => b.mountPath.length - a.mountPath.length);
}

/** One file for each key, and nothing of an earlier start. */
async function writeFiles(folder: string, { data, binaryData }: Pick<ConfigMap, 'data' | 'binaryData'>): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [key, text] of Object.entries(data ?? {})) await writeFile(join(folder, inside(key)), text, { mode: 0o400 });
  for (const [key, base64] of Object.entries(binaryData ?? {}))
    await writeFile(join(folder, inside(key)), Buffer.from(base64, 'base64'), { mode: 0o400 });
}

/** Each projected token, whole or not at all: the runner may be reading it. */
export async function writeTokens(pod: Pod, podDir: string, { mintToken }: Pick<VolumeDeps, 'mintToken'>): Promise<void> {
  for (const volume of pod.spec?.volumes ?? []) {
    for (const { serviceAccountToken: token } of volume.projected?.sources ?? []) {
      if (token === undefined) continue;
      const file = join(podDir, 'volumes', volume.name, inside(token.path));
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(`${file}.new`, await mintToken(pod, token.audience ?? ''), { mode: 0o600 });
      await rename(`${file}.new`, file);
    }
  }
}

/** A container's path, or `--flag=path`, as this machine has it; anything else as it is. */
export function translate(argument: string, mounts: readonly Mount[]): string {
  const [, flag = '', path = argument] = /^(--[A-Za-z0-9-]+=)(.*)$/s.exec(argument) ?? [];
  const mount = mounts.find(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`));
  return mount === undefined ? argument : `${flag}${mount.hostPath}${path.slice(mount.mountPath.length)}`;
}

function inside(subPath: string): string {
  if (isAbsolute(subPath) || subPath.split('/').includes('..'))
    throw new Error(`cannot mount subPath ${subPath}: it leads out of its volume`);
  return subPath;
}
