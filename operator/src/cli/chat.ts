/** `dovecote chat`: the web chat's API in a terminal. */
import { createInterface } from 'node:readline';
import type { sessions } from '@dovecote/proto';
import { type ApiClient, CommandError, serverSentEvents } from './api-client.ts';

export interface ChatOptions {
  readonly client: ApiClient;
  /** a Channel of type local */
  readonly channel: string;
  readonly chat: string;
  readonly newId: () => string;
  readonly signal: AbortSignal;
  readonly output: 'text' | 'json';
  readonly write: (text: string) => void;
}

interface Answer {
  readonly text: string;
  readonly message: sessions.ChatMessage;
}

/**
 * Sends one message and answers with what came back: every outbound row up to the end of the turn that the message began.
 * Throws CommandError when nobody is there to answer, or nothing came within `timeoutMs`.
 */
export async function ask(options: ChatOptions, text: string, timeoutMs: number): Promise<readonly Answer[]> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const done = new AbortController();
  const signal = AbortSignal.any([options.signal, timeout, done.signal]);
  const id = options.newId();
  const received = await send(options, id, text);
  if (received.refused.length > 0) throw new CommandError(received.refused.join('\n'));
  const answers: Answer[] = [];
  let mine: number | undefined;
  try {
    for await (const message of follow(options, signal)) {
      if (message.eventId === received.eventId) {
        mine = message.seq;
        if (message.state === 'done' && answers.length > 0) return answers;
        if (message.state === 'dead')
          throw new CommandError('the message was set aside after it failed again and again; `dovecote dead-letters list` has it');
      } else if (mine !== undefined && message.direction === 'out' && message.seq > mine && isFinal(message)) {
        answers.push({ text: textOf(message), message });
        return answers;
      }
    }
  } catch (e) {
    if (signal.aborted && !options.signal.aborted)
      throw new CommandError(
        `no answer came within ${Math.round(timeoutMs / 1000)} s; \`dovecote why ${received.eventId}\` tells where the message is`,
        { cause: e },
      );
    throw e;
  } finally {
    done.abort(); // leaving the loop alone does not close the connection
  }
  throw new CommandError('the stream ended before an answer came');
}

const isFinal = (message: sessions.ChatMessage): boolean => message.state === 'delivered' && message.kind !== 'reaction';

function textOf(message: sessions.ChatMessage): string {
  const content = JSON.parse(message.content) as { text?: string; name?: string; fallback?: string };
  return content.text ?? content.fallback ?? content.name ?? '';
}

async function send(options: ChatOptions, id: string, text: string): Promise<{ eventId: string; refused: string[] }> {
  return options.client.json(`/api/channels/${encodeURIComponent(options.channel)}/chats/${encodeURIComponent(options.chat)}/messages`, {
    method: 'POST',
    body: { id, text },
  });
}

/** The chat's messages from its beginning, then everything new; re-connects behind the last one seen. */
async function* follow(
  options: ChatOptions,
  signal: AbortSignal,
  onActivity?: (activity: sessions.Activity) => void,
): AsyncGenerator<sessions.ChatMessage> {
  let cursor = '';
  while (!signal.aborted) {
    const path = `/api/channels/${encodeURIComponent(options.channel)}/chats/${encodeURIComponent(options.chat)}/events?after=${encodeURIComponent(cursor)}`;
    for await (const { id, event, data } of serverSentEvents(await options.client.request(path, { signal }))) {
      if (id !== '') cursor = id;
      if (event === 'message') yield JSON.parse(data) as sessions.ChatMessage;
      else onActivity?.(JSON.parse(data) as sessions.Activity);
    }
  }
}

/** A conversation in the terminal, until end of input or the signal. */
export async function converse(options: ChatOptions, input: NodeJS.ReadableStream, terminal: boolean): Promise<void> {
  const lines = createInterface({ input, terminal: false });
  const shown = new Set<string>();
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const show = async (): Promise<void> => {
    for await (const message of follow(
      options,
      signal,
      ({ state, detail }) =>
        terminal && state !== 'Idle' && options.write(`\r… ${state === 'Tool' ? detail : state.toLowerCase()}\x1b[K\r`),
    )) {
      const key = `${message.session}/${message.seq}`;
      if (shown.has(key) || message.direction !== 'out' || !isFinal(message)) continue;
      shown.add(key);
      options.write(options.output === 'json' ? `${JSON.stringify(message)}\n` : `\x1b[K${textOf(message)}\n`);
      if (terminal) options.write('> ');
    }
  };
  const showing = show();
  if (terminal) options.write('> ');
  const stop = (): void => lines.close();
  options.signal.addEventListener('abort', stop, { once: true });
  for await (const line of lines) {
    if (line.trim() === '') continue;
    const received = await send(options, options.newId(), line);
    for (const reason of received.refused) options.write(`(${reason})\n`);
  }
  options.signal.removeEventListener('abort', stop);
  ended.abort();
  await showing.catch((e: unknown) => {
    if (!signal.aborted) throw e;
  });
}
