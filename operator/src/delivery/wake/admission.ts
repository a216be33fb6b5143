/** Who may have a Pod. Pure: every wake of a shard is decided here, before a Pod is asked for. */

export interface AwakeSession {
  readonly session: string;
  readonly agent: string;
  /** on its way to sleep already */
  readonly leaving: boolean;
  /** ms since 1970; it has nothing to do since then. undefined: it works, or its Pod only starts */
  readonly idleSince: number | undefined;
}

export interface QueuedSession {
  readonly session: string;
  readonly agent: string;
}

export interface AdmissionInput {
  readonly awake: readonly AwakeSession[];
  /** in the order they came */
  readonly queue: readonly QueuedSession[];
  readonly maxPerShard: number;
  readonly maxPerAgent: (agent: string) => number;
}

export interface AdmissionDecision {
  readonly wake: readonly string[];
  /** idle ones that make room; they count as awake until they sleep */
  readonly sleep: readonly string[];
  /** those that wait, the next one first */
  readonly waiting: readonly { readonly session: string; readonly because: 'AgentLimit' | 'ShardLimit' }[];
}

/**
 * Fair by agent: whoever has the fewest awake is next, among equals the one that came first, and within an agent the order of arrival.
 * So one agent with a thousand chats delays another's first chat by nothing.
 */
export function admit({ awake, queue, maxPerShard, maxPerAgent }: AdmissionInput): AdmissionDecision {
  const awakeOf = new Map<string, number>();
  for (const { agent } of awake) awakeOf.set(agent, (awakeOf.get(agent) ?? 0) + 1);
  const places = { shard: maxPerShard - awake.length, of: (agent: string) => maxPerAgent(agent) - (awakeOf.get(agent) ?? 0) };
  const wake: string[] = [];
  const waiting: { session: string; agent: string; because: 'AgentLimit' | 'ShardLimit' }[] = [];
  const left = linesByAgent(queue);
  while (left.size > 0) {
    const agent = nextAgent(left, awakeOf);
    const line = left.get(agent) ?? [];
    const next = line.shift();
    if (line.length === 0) left.delete(agent);
    if (next === undefined) continue;
    const free = places.of(agent);
    // What is counted here for one that waits decides only the order among those that wait.
    awakeOf.set(agent, (awakeOf.get(agent) ?? 0) + 1);
    if (free > 0 && places.shard > 0) {
      wake.push(next.session);
      places.shard -= 1;
    } else waiting.push({ ...next, because: free <= 0 ? 'AgentLimit' : 'ShardLimit' });
  }
  return { wake, sleep: makeRoom(awake, waiting), waiting: waiting.map(({ session, because }) => ({ session, because })) };
}

function linesByAgent(queue: readonly QueuedSession[]): Map<string, QueuedSession[]> {
  const lines = new Map<string, QueuedSession[]>();
  for (const entry of queue) {
    const line = lines.get(entry.agent);
    if (line === undefined) lines.set(entry.agent, [entry]);
    else line.push(entry);
  }
  return lines;
}

/** Map order is the order of each agent's first arrival, which breaks ties. */
function nextAgent(lines: ReadonlyMap<string, unknown>, awakeOf: ReadonlyMap<string, number>): string {
  let best: { agent: string; awake: number } | undefined;
  for (const agent of lines.keys()) {
    const awake = awakeOf.get(agent) ?? 0;
    if (best === undefined || awake < best.awake) best = { agent, awake };
  }
  return best?.agent ?? '';
}

/** One idle session for each that waits, the longest idle first; for an agent at its own limit only one of its own helps. */
function makeRoom(
  awake: readonly AwakeSession[],
  waiting: readonly { readonly agent: string; readonly because: 'AgentLimit' | 'ShardLimit' }[],
): string[] {
  const idle = awake.filter((one) => !one.leaving && one.idleSince !== undefined).sort((a, b) => (a.idleSince ?? 0) - (b.idleSince ?? 0));
  const leaving = awake.filter((one) => one.leaving);
  const take = (list: AwakeSession[], fits: (one: AwakeSession) => boolean): AwakeSession | undefined => {
    const at = list.findIndex(fits);
    return at < 0 ? undefined : list.splice(at, 1)[0];
  };
  const sleep: string[] = [];
  for (const { agent, because } of waiting) {
    const helps = (one: AwakeSession): boolean => because === 'ShardLimit' || one.agent === agent;
    if (take(leaving, helps) !== undefined) continue; // its place is on the way
    const chosen = take(idle, helps);
    if (chosen !== undefined) sleep.push(chosen.session);
  }
  return sleep;
}
