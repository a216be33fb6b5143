/** `dovecote chat`: the web chat's API in a terminal. */
import { createInterface } from 'node:readline';
import type { sessions } from '@dovecote/proto';
import { type ApiClient, CommandError, serverSentEvents } from './api-client.ts';
import { type TerminalSize, TerminalView } from './terminal-view.ts';

export interface ChatOptions {
  readonly client: ApiClient;
  /** a Channel of type local */
  readonly channel: string;
  readonly chat: string;
  readonly newId: () => string;
  readonly signal: AbortSignal;
  readonly output: 'text' | 'json';
  readonly write: (text: string) => void;
  /** Somebody looks: answers are shown while they are written. undefined: a file or a program, which gets the answers alone. */
  readonly terminal?: TerminalSize | undefined;
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
  const view = viewOf(options);
  try {
    for await (const message of follow(options, signal, view)) {
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
    view?.show('');
    done.abort(); // leaving the loop alone does not close the connection
  }
  throw new CommandError('the stream ended before an answer came');
}

function viewOf({ terminal, output, write }: ChatOptions): TerminalView | undefined {
  return terminal === undefined || output === 'json' ? undefined : new TerminalView(write, terminal);
}

const isFinal = (message: sessions.ChatMessage): boolean => message.state === 'delivered' && message.kind !== 'reaction';

function textOf(message: sessions.ChatMessage): string {
  const content = JSON.parse(message.content) as {
    text?: string;
    name?: string;
    fallback?: string;
    title?: string;
    options?: readonly { readonly label: string }[];
  };
  // Its number, or the label itself, typed as the next line is the answer.
  const options = (content.options ?? []).map(({ label }, i) => `${i + 1}. ${label}`);
  if (message.kind === 'question') return [content.title, content.text, ...options].filter((line) => line).join('\n');
  if (message.kind === 'card') return content.fallback ?? '';
  return content.text ?? content.fallback ?? content.name ?? '';
}

async function send(options: ChatOptions, id: string, text: string): Promise<{ eventId: string; refused: string[] }> {
  return options.client.json(`/api/channels/${encodeURIComponent(options.channel)}/chats/${encodeURIComponent(options.chat)}/messages`, {
    method: 'POST',
    body: { id, text },
  });
}

/**
 * The chat's messages from its beginning, then everything new; re-connects behind the last one seen. `view` shows what is not stored:
 * what the agent does, and the answer that it writes.
 */
async function* follow(options: ChatOptions, signal: AbortSignal, view?: TerminalView): AsyncGenerator<sessions.ChatMessage> {
  let cursor = '';
  let partial = '';
  while (!signal.aborted) {
    const path = `/api/channels/${encodeURIComponent(options.channel)}/chats/${encodeURIComponent(options.chat)}/events?after=${encodeURIComponent(cursor)}`;
    for await (const { id, event, data } of serverSentEvents(await options.client.request(path, { signal }))) {
      if (id !== '') cursor = id;
      if (event === 'message') yield JSON.parse(data) as sessions.ChatMessage;
      else if (event === 'partial') {
        partial = (JSON.parse(data) as sessions.PartialMessage).text;
        view?.show(partial);
      } else if (partial === '') view?.show(wordsOf(JSON.parse(data) as sessions.Activity));
    }
    partial = '';
  }
}

function wordsOf({ state, detail }: sessions.Activity): string {
  if (state === 'Idle') return '';
  if (detail === 'ask_user_question') return '… waiting for your answer';
  return state === 'Tool' ? `… using ${detail}` : `… ${state.toLowerCase()}`;
}

/** A conversation in the terminal, until end of input or the signal. */
export async function converse(options: ChatOptions, input: NodeJS.ReadableStream): Promise<void> {
  const lines = createInterface({ input, terminal: false });
  const shown = new Set<string>();
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const view = viewOf(options);
  const print = (text: string): void => (view === undefined ? options.write(text) : view.print(`${text}> `));
  const show = async (): Promise<void> => {
    for await (const message of follow(options, signal, view)) {
      const key = `${message.session}/${message.seq}`;
      if (shown.has(key) || message.direction !== 'out' || !isFinal(message)) continue;
      shown.add(key);
      print(options.output === 'json' ? `${JSON.stringify(message)}\n` : `${textOf(message)}\n`);
    }
  };
  const showing = show();
  view?.print('> ');
  const stop = (): void => lines.close();
  options.signal.addEventListener('abort', stop, { once: true });
  for await (const line of lines) {
    if (line.trim() === '') continue;
    const received = await send(options, options.newId(), line);
    for (const reason of received.refused) print(`(${reason})\n`);
  }
  options.signal.removeEventListener('abort', stop);
  ended.abort();
  await showing.catch((e: unknown) => {
    if (!signal.aborted) throw e;
  });
}
