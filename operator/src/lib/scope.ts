/** What a session is about, as one string: a chat, a thread of a chat, or everything its agent hears. */
export const EVERYTHING = '*';

export function chatScope(channel: string, chat: string, thread?: string): string {
  return [channel, chat, ...(thread === undefined || thread === '' ? [] : [thread])].map(encodeURIComponent).join('/');
}

/** undefined for EVERYTHING. */
export function parseScope(scope: string): { channel: string; chat: string; thread?: string } | undefined {
  if (scope === EVERYTHING) return undefined;
  const [channel = '', chat = '', thread] = scope.split('/').map(decodeURIComponent);
  return { channel, chat, ...(thread !== undefined && { thread }) };
}
