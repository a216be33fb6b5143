import { AgentDataError } from '../agent-data/agent-data.ts';
import { ToolError } from './tool.ts';

/** A failure of delivery is one that the model should hear of. */
export async function askDelivery<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (e) {
    if (e instanceof AgentDataError) throw new ToolError(e.message, { cause: e });
    throw e;
  }
}
