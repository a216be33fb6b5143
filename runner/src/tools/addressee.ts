import type { ToolContext } from './tool.ts';
import { ToolError } from './tool.ts';

/** Where a row of this call goes. Throws ToolError naming the destinations there are. */
export function addressee(
  to: string | undefined,
  { destinations, replyTo }: Pick<ToolContext, 'destinations' | 'replyTo'>,
): { readonly destination?: string; readonly inReplyTo?: number } {
  if (to === undefined || to === 'here') return replyTo === undefined ? {} : { inReplyTo: replyTo };
  if (destinations.some((row) => row.name === to)) return { destination: to };
  const known = destinations.map((row) => row.name).sort();
  throw new ToolError(`There is no destination named ${to}. ${known.length === 0 ? 'There are none.' : `There are: ${known.join(', ')}.`}`);
}
