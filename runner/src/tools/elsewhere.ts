/** An agent that is spread over several shards looks at its own part: the model must not take that for all there is. */
export function elsewhere(unseenShards: number, verb: string): readonly string[] {
  if (unseenShards === 0) return [];
  return [`(Your conversations lie on ${unseenShards + 1} shards; only those on the shard of this one were ${verb}.)`];
}
