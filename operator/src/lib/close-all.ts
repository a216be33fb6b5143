/**
 * One after the other, all of them: a part that cannot be closed (a full volume) must not keep the others, or the process never
 * ends. Rejects at the end with the first failure.
 */
export async function closeAll(steps: readonly (() => Promise<void> | void)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (e) {
      failures.push(e);
    }
  }
  if (failures.length > 0) throw failures[0];
}
