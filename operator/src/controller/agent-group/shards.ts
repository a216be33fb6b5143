/** Which shards an agent's sessions are on. Pure. */
export interface ShardQuestion {
  /** How many are asked for. */
  readonly count: number;
  /** Those it was given before, the home shard first. */
  readonly assigned: readonly string[];
  /** Those its Sessions say they are on: what counts when an assignment was lost, as after a restore of the cluster. */
  readonly ofSessions: readonly string[];
  /** Those that exist. */
  readonly available: readonly string[];
  /** How many agents each shard has. */
  readonly load: ReadonlyMap<string, number>;
}

/**
 * Keeps what it has: a shard that is taken away takes the place of conversations with it. What is missing comes from the shards
 * with the fewest agents. The first stays first, for it holds the agent's shared folder.
 */
export function assignShards({ count, assigned, ofSessions, available, load }: ShardQuestion): readonly string[] {
  const shards = [...new Set([...assigned, ...[...ofSessions].sort(byNumber)])];
  const free = available.filter((shard) => !shards.includes(shard));
  free.sort((a, b) => (load.get(a) ?? 0) - (load.get(b) ?? 0) || byNumber(a, b));
  return [...shards, ...free.slice(0, Math.max(0, count - shards.length))];
}

function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
