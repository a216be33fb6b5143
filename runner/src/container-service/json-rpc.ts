import { z } from 'zod';

const Id = z.union([z.string(), z.number()]);
const Message = z.looseObject({
  jsonrpc: z.literal('2.0'),
  id: Id.nullish(),
  method: z.string().optional(),
  params: z.unknown().optional(),
});
const Cancelled = z.looseObject({ requestId: Id });

/** What a JSON-RPC message is for whoever passes it on. */
export type Envelope =
  | { readonly kind: 'request'; readonly id: string | number }
  /** `id` is null when the other side could not read the request it answers */
  | { readonly kind: 'response'; readonly id: string | number | null }
  /** `cancels`: the id of the request that nobody waits for any more */
  | { readonly kind: 'notification'; readonly cancels: string | number | undefined };

/** undefined: not one JSON-RPC 2.0 message. */
export function parseEnvelope(text: string): Envelope | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { data } = Message.safeParse(json);
  if (data === undefined) return undefined;
  const { id, method, params } = data;
  if (method === undefined) return 'result' in data || 'error' in data ? { kind: 'response', id: id ?? null } : undefined;
  if (id !== undefined && id !== null) return { kind: 'request', id };
  const cancels = method === 'notifications/cancelled' ? Cancelled.safeParse(params).data?.requestId : undefined;
  return { kind: 'notification', cancels };
}
