/** What every provider must do, run on each. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Answer, type Provider, ProviderError, type ProviderEvent, type ProviderRequest, type TranscriptMessage } from './provider.ts';

export interface Candidate {
  readonly provider: Provider;
  /** messages that make it do these things */
  readonly says: {
    readonly plain: string;
    /** calls the tool read_file with the path a.txt, then says what came back */
    readonly tool: string;
    /** is answered 429 with a wait of two seconds */
    readonly busy: string;
    /** is answered 400 */
    readonly refused: string;
    /** calls the tool read_file twice in one answer, with the paths a.txt and b.txt, then says what came back last */
    readonly several: string;
    /** calls the tool read_file with input that is no JSON */
    readonly malformed: string;
    /** answers "one two three four" in pieces, over half a second at least */
    readonly slow: string;
    /** is answered 529 */
    readonly overloaded: string;
    /** is answered 401 */
    readonly denied: string;
    /** loses the connection */
    readonly broken: string;
    /** gives no answer */
    readonly hang: string;
  };
  close(): Promise<void>;
}

const TOOL = {
  name: 'read_file',
  description: 'Reads a file.',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
};

export function user(text: string): TranscriptMessage {
  return {
    role: 'user',
    turn: 't1',
    blocks: [{ type: 'text', text: `<message id="2" from="here" sender="Ann" time="2026-03-01T09:05Z">${text}</message>` }],
  };
}

export function request(messages: readonly TranscriptMessage[]): ProviderRequest {
  return {
    system: 'You are a test.',
    tools: [TOOL],
    messages,
    model: undefined,
    effort: 'medium',
    turn: 't1',
    attempt: 0,
    interruptions: 0,
  };
}

export async function collect(provider: Provider, asked: ProviderRequest): Promise<readonly ProviderEvent[]> {
  const events: ProviderEvent[] = [];
  for await (const event of provider.stream(asked, { signal: new AbortController().signal })) events.push(event);
  return events;
}

export async function answerOf(provider: Provider, asked: ProviderRequest): Promise<Answer> {
  const last = (await collect(provider, asked)).at(-1);
  if (last?.type !== 'answer') throw new Error('the stream did not end with an answer');
  return last;
}

export function providerContract(name: string, make: () => Promise<Candidate>): void {
  describe(`the provider ${name}`, () => {
    let candidate: Candidate;
    beforeEach(async () => {
      candidate = await make();
    });
    afterEach(() => candidate.close());

    test('ends its stream with the one answer, whose text is what it streamed', async () => {
      const events = await collect(candidate.provider, request([user(candidate.says.plain)]));
      const answers = events.filter((event) => event.type === 'answer');
      expect(answers).toHaveLength(1);
      expect(events.at(-1)).toBe(answers[0]);
      const streamed = events.flatMap((event) => (event.type === 'text' ? [event.text] : [])).join('');
      const [block] = answers[0]?.blocks ?? [];
      expect(block).toMatchObject({ type: 'text', text: expect.stringContaining(streamed.trim()) });
      expect(answers[0]).toMatchObject({ stop: 'end', model: expect.stringMatching(/./) });
    });

    test('calls a tool with its input as an object, and goes on from the result', async () => {
      const asked = user(candidate.says.tool);
      const first = await answerOf(candidate.provider, request([asked]));
      expect(first.stop).toBe('tools');
      const call = first.blocks.find((block) => block.type === 'tool_use');
      expect(call).toMatchObject({ name: 'read_file', input: { path: 'a.txt' } });
      const second = await answerOf(
        candidate.provider,
        request([
          asked,
          { role: 'assistant', turn: 't1', blocks: first.blocks },
          { role: 'tool', turn: 't1', blocks: [{ type: 'tool_result', toolUseId: call?.id ?? '', text: 'the content' }] },
        ]),
      );
      expect(second.stop).toBe('end');
      expect(second.blocks).toMatchObject([{ type: 'text', text: expect.stringContaining('the content') }]);
    });

    test('keeps nothing between calls: the same request has the same answer', async () => {
      const asked = request([user(candidate.says.plain)]);
      expect((await answerOf(candidate.provider, asked)).blocks).toEqual((await answerOf(candidate.provider, asked)).blocks);
    });

    test('calls several tools in one answer, each by an id of its own, and goes on from all results', async () => {
      const asked = user(candidate.says.several);
      const first = await answerOf(candidate.provider, request([asked]));
      const calls = first.blocks.filter((block) => block.type === 'tool_use');
      expect(calls).toMatchObject([
        { name: 'read_file', input: { path: 'a.txt' } },
        { name: 'read_file', input: { path: 'b.txt' } },
      ]);
      expect(new Set(calls.map(({ id }) => id)).size).toBe(2);
      const results = calls.map(({ id, input }): TranscriptMessage => {
        const { path } = input as { readonly path: string };
        return { role: 'tool', turn: 't1', blocks: [{ type: 'tool_result', toolUseId: id, text: `the content of ${path}` }] };
      });
      const second = await answerOf(
        candidate.provider,
        request([asked, { role: 'assistant', turn: 't1', blocks: first.blocks }, ...results]),
      );
      expect(second).toMatchObject({ stop: 'end', blocks: [{ type: 'text', text: expect.stringContaining('the content of b.txt') }] });
    });

    test('passes tool input that is no JSON on as it is: the model will be told', async () => {
      const { blocks } = await answerOf(candidate.provider, request([user(candidate.says.malformed)]));
      expect(blocks.find((block) => block.type === 'tool_use')).toMatchObject({ name: 'read_file', input: expect.any(String) });
    });

    test('gives its text in pieces while it comes, which can be cancelled in the middle', async () => {
      const asked = request([user(candidate.says.slow)]);
      const pieces = (await collect(candidate.provider, asked)).flatMap((event) => (event.type === 'text' ? [event.text] : []));
      expect(pieces.length).toBeGreaterThan(1);
      expect(pieces.join('')).toBe('one two three four');
      const cancel = new AbortController();
      const reason = new Error('cancelled in the middle');
      const seen: string[] = [];
      const ended = (async () => {
        for await (const event of candidate.provider.stream(asked, { signal: cancel.signal })) {
          seen.push(event.type);
          if (event.type === 'text') cancel.abort(reason);
        }
      })();
      await expect(ended).rejects.toBe(reason);
      expect(seen).not.toContain('answer');
    });

    test('counts what it read and wrote', async () => {
      const { usage } = await answerOf(candidate.provider, request([user(candidate.says.plain)]));
      for (const figure of Object.values(usage)) expect(Number.isSafeInteger(figure) && figure >= 0).toBe(true);
      expect(usage.inputTokens).toBeGreaterThan(0);
      expect(usage.outputTokens).toBeGreaterThan(0);
    });

    test.each(['title', 'summary'] as const)('gives a %s of a conversation in words, also of one with tools in it', async (purpose) => {
      const call: TranscriptMessage = {
        role: 'assistant',
        turn: 't0',
        blocks: [{ type: 'tool_use', id: 'u1', name: 'read_file', input: {} }],
      };
      const result: TranscriptMessage = { role: 'tool', turn: 't0', blocks: [{ type: 'tool_result', toolUseId: 'u1', text: 'x' }] };
      const asked = { ...request([user('earlier'), call, result, user(candidate.says.plain)]), tools: [], purpose };
      expect(await answerOf(candidate.provider, asked)).toMatchObject({
        stop: 'end',
        blocks: [{ type: 'text', text: expect.stringMatching(/\S/) }],
      });
    });

    test.each([
      ['overloaded', { transient: true, reason: 'Overloaded' }],
      ['broken', { transient: true, reason: 'Network' }],
      ['denied', { transient: false, reason: 'Unauthenticated' }],
    ] as const)('says that it is %s', async (how, failure) => {
      const failed = await collect(candidate.provider, request([user(candidate.says[how])])).catch((e: unknown) => e);
      expect(failed).toBeInstanceOf(ProviderError);
      expect(failed).toMatchObject(failure);
    });

    test('says that it is busy, and for how long', async () => {
      const failed = await collect(candidate.provider, request([user(candidate.says.busy)])).catch((e: unknown) => e);
      expect(failed).toBeInstanceOf(ProviderError);
      expect(failed).toMatchObject({ transient: true, reason: 'RateLimited', retryAfterMs: 2_000 });
    });

    test('says that it refuses for good', async () => {
      const failed = await collect(candidate.provider, request([user(candidate.says.refused)])).catch((e: unknown) => e);
      expect(failed).toBeInstanceOf(ProviderError);
      expect(failed).toMatchObject({ transient: false, reason: 'BadRequest' });
    });

    test('ends with the reason of the signal that cancels it', async () => {
      const cancel = new AbortController();
      const reason = new Error('cancelled by the test');
      const ended = (async () => {
        for await (const _ of candidate.provider.stream(request([user(candidate.says.hang)]), { signal: cancel.signal }));
      })();
      cancel.abort(reason);
      await expect(ended).rejects.toBe(reason);
    });
  });
}
