import { createContext, Script } from 'node:vm';
import { ToolError } from './tool.ts';

/** So long patterns may be at work at a stretch: the heartbeat, doorbells and a stop wait for it. */
const MAX_MS = 2_000;

const context: { work?: (() => void) | undefined } = createContext({});
const script = new Script('work()');

/**
 * Runs work whose time a pattern of the model decides. One that tries every way to fail needs longer than anybody lives, and the process
 * does nothing else meanwhile: only V8 itself can break it off. Throws ToolError then.
 */
export function withinTime<T>(pattern: string, work: () => T): T {
  let result: { readonly value: T } | undefined;
  context.work = () => {
    result = { value: work() };
  };
  try {
    script.runInContext(context, { timeout: MAX_MS });
  } catch (e) {
    if ((e as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw e;
    throw new ToolError(`${JSON.stringify(pattern.slice(0, 200))} takes too long to match. Write it with fewer * and + in each other.`, {
      cause: e,
    });
  } finally {
    context.work = undefined;
  }
  if (result === undefined) throw new Error('the work ended without a result');
  return result.value;
}
