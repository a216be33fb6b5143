import { test } from '@jest/globals';
import { requirements } from './requirements.ts';

const known = new Set(requirements.map(({ id }) => id));

/**
 * A test that shows a requirement to hold. `behaviour` reads as a sentence; the id ends the test's title, from where the run's record
 * takes it. Throws for an id that does not exist, so that a typing error cannot pass for coverage.
 */
export function verifies(id: string, behaviour: string, run: () => Promise<void> | void, timeoutMs?: number): void {
  if (!known.has(id)) throw new Error(`cannot register a test: there is no requirement ${id}`);
  test(`${behaviour} [${id}]`, async () => run(), timeoutMs);
}
