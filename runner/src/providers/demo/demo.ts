/** The offline provider: deterministic, needs no key, follows the script in the message (see README.md). */
import type { Block, Usage } from '@dovecote/proto';
import type { Clock } from '../../lifecycle/clock.ts';
import { unescapeText } from '../../prompts/escape.ts';
import { type Provider, ProviderError, type ProviderEvent, type ProviderRequest, type TranscriptMessage } from '../provider.ts';
import { type Operation, parseScript } from './script.ts';

const SUFFIX = "(demo provider: no model is connected. Choose another provider in the agent's settings for real answers.)";
const PROGRESS_MS = 1_000;
const WORD_MS = 50;
const TITLE_CHARS = 60;

export interface DemoDeps {
  readonly clock: Clock;
  /** ends this very process, as a crash would */
  readonly crash: () => void;
}

export class DemoProvider implements Provider {
  readonly name = 'demo';
  readonly defaultModel = 'demo';
  readonly transcriptChars = 600_000;
  readonly compactsItself = (): boolean => false;
  readonly #deps: DemoDeps;

  constructor(deps: DemoDeps) {
    this.#deps = deps;
  }

  async *stream(request: ProviderRequest, { signal }: { readonly signal: AbortSignal }): AsyncIterable<ProviderEvent> {
    signal.throwIfAborted();
    if (request.purpose !== undefined) {
      yield answer(request, { said: [request.purpose === 'title' ? title(request.messages) : summary(request.messages)] });
      return;
    }
    const { operations, toolCalls, lastResult } = position(request);
    const said: string[] = [];
    const thought: string[] = [];
    let usage: Usage | undefined;
    let echoed = false;
    let faults = 0;
    let crashes = 0;
    for (const operation of operations) {
      switch (operation.op) {
        case 'say':
          yield piece(said, operation.text.replaceAll('{result}', lastResult));
          break;
        case 'echo':
          echoed = true;
          yield piece(said, `You said: ${operation.text}`);
          break;
        case 'think':
          thought.push(operation.text);
          yield { type: 'progress' };
          break;
        case 'usage':
          usage = operation.usage;
          break;
        case 'title':
          break; // what the conversation is called when somebody asks for it
        case 'remember':
          yield piece(said, `I will remember: ${operation.text}`);
          break;
        case 'recall':
          yield piece(said, recall(request.messages));
          break;
        case 'stream':
          if (said.length > 0) yield { type: 'text', text: '\n' };
          for (const word of operation.text.split(/(?<= )/)) {
            await this.#deps.clock.sleep(WORD_MS, signal);
            yield { type: 'text', text: word };
          }
          said.push(operation.text);
          break;
        case 'sleep':
          for (let left = operation.ms; left > 0; left -= PROGRESS_MS) {
            yield { type: 'progress' };
            await this.#deps.clock.sleep(Math.min(left, PROGRESS_MS), signal);
          }
          break;
        case 'fail':
          // Each fault happens once: the attempts before this one went through those before it.
          if (operation.always || faults >= request.attempt) throw failure(operation);
          faults += 1;
          break;
        case 'hang':
          if (faults >= request.attempt) await this.#deps.clock.sleep(2 ** 30, signal);
          faults += 1;
          break;
        case 'crash':
          if (operation.always || crashes >= request.interruptions) this.#deps.crash();
          crashes += 1;
          break;
        case 'tools':
          yield answer(request, { said, thought, usage, calls: operation.calls, before: toolCalls });
          return;
      }
    }
    // Nothing left and no tool behind it: the system told something, such as a destination that does not exist.
    const told = operations.length === 0 && request.messages.at(-1)?.role === 'user';
    if (said.length === 0) said.push(told ? '<internal>nothing left to do</internal>' : 'Done.');
    if (echoed) said.push(`\n${SUFFIX}`);
    yield answer(request, { said, thought, usage });
  }
}

/** Adds a line to the answer; what is streamed reads as the answer will. */
function piece(said: string[], line: string): ProviderEvent {
  said.push(line);
  return { type: 'text', text: said.length === 1 ? line : `\n${line}` };
}

/**
 * The operations that are still to be done, from the transcript alone: any process finds the same place. Scripts with tools
 * come first, so that what the other messages are answered stands in the last step, which is the one that is sent.
 */
function position(request: ProviderRequest): { operations: readonly Operation[]; toolCalls: number; lastResult: string } {
  let withTools: Operation[] = [];
  let without: Operation[] = [];
  let at = 0;
  let toolCalls = 0;
  let lastResult = '';
  for (const message of request.messages) {
    for (const block of message.blocks) if (block.type === 'tool_result') lastResult = block.text;
    if (message.turn !== request.turn) continue;
    if (message.role === 'user') {
      const operations = message.blocks.flatMap(script);
      (operations.some(({ op }) => op === 'tools') ? withTools : without).push(...operations);
    }
    if (message.role !== 'assistant') continue;
    const calls = message.blocks.filter((block) => block.type === 'tool_use').length;
    toolCalls += calls;
    if (calls > 0) at = withTools.findIndex((operation, index) => index >= at && operation.op === 'tools') + 1;
    else [withTools, without, at] = [[], [], 0]; // an answer without a call has done all there was
  }
  return { operations: [...withTools.slice(at), ...without], toolCalls, lastResult };
}

const ELEMENT = /^<(message|answer|task|webhook|system)((?: [a-z]+="[^"]*")*)>(.*)<\/\1>$/s;

function script(block: Block): readonly Operation[] {
  if (block.type !== 'text') return [];
  const [, tag, attributes = '', body = ''] = ELEMENT.exec(block.text) ?? [];
  if (tag === undefined || tag === 'system' || attributes.includes(' context="true"')) return [];
  if (tag === 'answer') return [{ op: 'say', text: `You chose: ${unescapeText(body)}` }];
  const text = body
    .replace(/^<quoted_message[^>]*>.*?<\/quoted_message>\n?/s, '')
    .split('\n')
    .filter((line) => !/^\[attachment(?: refused)?: /.test(line))
    .join('\n');
  return parseScript(unescapeText(text));
}

function recall(messages: readonly TranscriptMessage[]): string {
  const remembered = remembers(messages);
  return remembered.length === 0 ? 'I remember nothing.' : `I remember: ${remembered.join(', ')}`;
}

/** Each X of a line `remember X`, whoever brought it: people's scripts, or a summary that stands for them. */
function remembers(messages: readonly TranscriptMessage[]): readonly string[] {
  const texts = messages
    .filter(({ role }) => role === 'user')
    .flatMap(({ blocks }) => blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])));
  // What people wrote is escaped: the tags that are left are those of the element around it.
  const lines = texts.flatMap((text) => unescapeText(text.replaceAll(/<[^>]*>/g, '\n')).split('\n'));
  return [...new Set(lines.flatMap((line) => /^\s*remember\s+(\S.*?)\s*$/.exec(line)?.[1] ?? []))];
}

/** The last line `title X`, else the beginning of the first message. */
function title(messages: readonly TranscriptMessage[]): string {
  const operations = messages.flatMap(({ role, blocks }) => (role === 'user' ? blocks.flatMap(script) : []));
  const titles = operations.flatMap((operation) => (operation.op === 'title' ? [operation.text] : []));
  const [first] = operations.flatMap((operation) => ('text' in operation ? [operation.text] : [operation.op]));
  return (titles.at(-1) ?? first ?? 'Conversation').slice(0, TITLE_CHARS);
}

/** Deterministic, and enough for `recall` to go on with. */
function summary(messages: readonly TranscriptMessage[]): string {
  return [`Summary of ${messages.length} messages.`, ...remembers(messages).map((what) => `remember ${what}`)].join('\n');
}

function failure({ how, retryAfterMs }: Extract<Operation, { op: 'fail' }>): ProviderError {
  const message = `the script asked for the failure ${how}`;
  switch (how) {
    case 'network':
      return ProviderError.transient('Network', message);
    case '429':
      return ProviderError.transient('RateLimited', message, { retryAfterMs });
    case '529':
      return ProviderError.transient('Overloaded', message, { retryAfterMs });
    case '401':
      return ProviderError.permanent('Unauthenticated', message);
    case '403':
      return ProviderError.permanent('Forbidden', message);
    case '404':
      return ProviderError.permanent('NoSuchModel', message);
    case '413':
      return ProviderError.permanent('TooLarge', message);
    default:
      return how.startsWith('5')
        ? ProviderError.transient('Unavailable', message, { retryAfterMs })
        : ProviderError.permanent('BadRequest', message);
  }
}

interface Answering {
  readonly said: readonly string[];
  readonly thought?: readonly string[];
  /** instead of the stand-in */
  readonly usage?: Usage | undefined;
  readonly calls?: readonly { readonly name: string; readonly input: unknown }[];
  /** calls of this turn's earlier steps */
  readonly before?: number;
}

function answer(request: ProviderRequest, { said, thought = [], usage, calls = [], before = 0 }: Answering): ProviderEvent {
  const text = said.join('\n');
  const blocks: Block[] = [
    ...thought.map((text): Block => ({ type: 'thinking', text })),
    ...(text === '' ? [] : [{ type: 'text', text } as const]),
    ...calls.map(
      ({ name, input }, index) => ({ type: 'tool_use', id: `demo-${request.turn}-${before + index + 1}`, name, input }) as const,
    ),
  ];
  return {
    type: 'answer',
    blocks,
    stop: calls.length > 0 ? 'tools' : 'end',
    model: request.model ?? 'demo',
    // Deterministic stand-ins: four characters are a token.
    usage: usage ?? { inputTokens: tokens([request.system, request.messages]), outputTokens: tokens(blocks) },
  };
}

function tokens(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / 4);
}
