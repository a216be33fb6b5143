import { readFileSync } from 'node:fs';
import type { TokenSource } from '../lib/identity.ts';

/** A role's token on a cluster: one projected file per audience, rotated by the kubelet, so read at each use. */
export function fileTokens(folder: string): TokenSource {
  return { token: async (audience) => readFileSync(`${folder}/${audience}`, 'utf8').trim() };
}
