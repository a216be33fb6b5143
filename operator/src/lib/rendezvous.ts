import { createHash } from 'node:crypto';

/**
 * Which of `shards` holds a scope of an agent: the highest hash wins, so that a shard added takes only what is its own.
 * undefined when there is none.
 */
export function shardOf(shards: readonly string[], agentGroupUid: string, scope: string): string | undefined {
  let best: { shard: string; weight: string } | undefined;
  for (const shard of shards) {
    const weight = createHash('sha256').update(`${shard}\0${agentGroupUid}\0${scope}`).digest('hex');
    if (best === undefined || weight > best.weight) best = { shard, weight };
  }
  return best?.shard;
}
