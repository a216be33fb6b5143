import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../../lifecycle/clock.ts';
import { answerOf, providerContract, request, user } from '../contract.test-suite.ts';
import { DemoProvider } from './demo.ts';
import { parseScript } from './script.ts';

const make = (crash: () => void = () => {}): DemoProvider => new DemoProvider({ clock: systemClock, crash });

providerContract('demo', async () => ({
  provider: make(),
  says: {
    plain: 'say hello',
    tool: 'tool read_file {"path":"a.txt"}\nsay got {result}',
    busy: 'fail 429 retry-after 2s',
    refused: 'fail 400',
    several: 'tool read_file {"path":"a.txt"}\nalso read_file {"path":"b.txt"}\nsay got {result}',
    malformed: 'tool read_file {"path": "a',
    slow: 'sleep 500ms\nstream slowly one two three four',
    overloaded: 'fail 529',
    denied: 'fail 401',
    broken: 'fail network',
    hang: 'hang',
  },
  close: async () => {},
}));

const textOf = async (...texts: string[]): Promise<string> => {
  const { blocks } = await answerOf(make(), request(texts.map(user)));
  return blocks.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');
};

describe('the demo provider', () => {
  test('echoes a message without a script, and says that it is the demo provider', async () => {
    expect(await textOf('hello there')).toMatch(/^You said: hello there\n\n\(demo provider: no model is connected\./);
  });

  test('answers each message of a batch', async () => {
    expect(await textOf('say one', 'two', 'say three')).toMatch(/^one\nYou said: two\nthree\n/);
  });

  test('reads what was escaped for the model', async () => {
    expect(await textOf('say a &lt;b&gt; &amp; "c"')).toBe('a <b> & "c"');
  });

  test('fails once per line, then goes on: the attempt is the number of failures before', async () => {
    const asked = request([user('fail 529\nfail network\nsay through')]);
    await expect(answerOf(make(), asked)).rejects.toMatchObject({ reason: 'Overloaded' });
    await expect(answerOf(make(), { ...asked, attempt: 1 })).rejects.toMatchObject({ reason: 'Network' });
    expect((await answerOf(make(), { ...asked, attempt: 2 })).blocks).toEqual([{ type: 'text', text: 'through' }]);
  });

  test('crashes once per line, then goes on: a resumed turn knows how often it was interrupted', async () => {
    let crashes = 0;
    const provider = make(() => {
      crashes += 1;
    });
    const asked = request([user('crash here\nsay survived')]);
    await answerOf(provider, asked);
    expect(crashes).toBe(1);
    await answerOf(provider, { ...asked, interruptions: 1 });
    expect(crashes).toBe(1);
    await answerOf(provider, { ...request([user('crash always')]), interruptions: 7 });
    expect(crashes).toBe(2);
  });

  test('recalls what the transcript holds', async () => {
    expect(await textOf('remember blue', 'remember red', 'recall')).toContain('I remember: blue, red');
    expect(await textOf('recall')).toBe('I remember nothing.');
  });

  test('streams what its answer will be', async () => {
    let streamed = '';
    let answer = '';
    for await (const event of make().stream(request([user('say one\nremember two\nstream slowly three four\nrecall')]), {
      signal: new AbortController().signal,
    })) {
      if (event.type === 'text') streamed += event.text;
      if (event.type === 'answer') answer = event.blocks.map((block) => (block.type === 'text' ? block.text : '')).join('');
    }
    expect(streamed).toBe(answer);
    expect(answer.split('\n')).toHaveLength(4);
  });

  test('thinks, and reports the figures that it is told to', async () => {
    const answer = await answerOf(make(), request([user('think hm\nusage {"inputTokens":9,"cacheReadTokens":4}\nsay done')]));
    expect(answer.blocks).toEqual([
      { type: 'thinking', text: 'hm' },
      { type: 'text', text: 'done' },
    ]);
    expect(answer.usage).toEqual({ inputTokens: 9, outputTokens: 0, cacheReadTokens: 4 });
  });

  test('gives a conversation its title, and a summary that recall can go on with', async () => {
    const ask = async (purpose: 'title' | 'summary', ...texts: string[]): Promise<string> => {
      const { blocks, stop } = await answerOf(make(), { ...request(texts.map(user)), purpose });
      expect(stop).toBe('end');
      return blocks.map((block) => (block.type === 'text' ? block.text : '')).join('');
    };
    expect(await ask('title', 'hello there', 'title About birds\nsay x')).toBe('About birds');
    expect(await ask('title', 'hello there', 'say x')).toBe('hello there');
    const summary = await ask('summary', 'remember a &lt; b', 'tool read_file {}', 'remember red');
    expect(summary).toBe('Summary of 3 messages.\nremember a < b\nremember red');
    expect(await textOf('recall')).toBe('I remember nothing.');
    const escaped = summary.replace('<', '&lt;');
    const carried = { role: 'user', turn: 't0', blocks: [{ type: 'text', text: `<summary>${escaped}</summary>` }] } as const;
    const { blocks } = await answerOf(make(), request([carried, user('recall')]));
    expect(blocks).toEqual([{ type: 'text', text: 'I remember: a < b, red' }]);
  });

  test('passes malformed tool input on as it is', async () => {
    const { blocks } = await answerOf(make(), request([user('tool read_file {"path": oops')]));
    expect(blocks).toMatchObject([{ type: 'tool_use', input: '{"path": oops' }]);
  });
});

describe('the script language', () => {
  test.each([
    ['sleep 2s', [{ op: 'sleep', ms: 2_000 }]],
    ['sleep 150ms', [{ op: 'sleep', ms: 150 }]],
    ['stream slowly a b', [{ op: 'stream', text: 'a b' }]],
    ['fail always 529', [{ op: 'fail', how: '529', always: true, retryAfterMs: undefined }]],
    ['tool list_dir', [{ op: 'tools', calls: [{ name: 'list_dir', input: {} }] }]],
    [
      'tool a {}\nalso b {"x":1}',
      [
        {
          op: 'tools',
          calls: [
            { name: 'a', input: {} },
            { name: 'b', input: { x: 1 } },
          ],
        },
      ],
    ],
    ['a comment\nsay x', [{ op: 'say', text: 'x' }]],
    ['think hard', [{ op: 'think', text: 'hard' }]],
    ['title Birds', [{ op: 'title', text: 'Birds' }]],
    ['usage {"outputTokens":2}', [{ op: 'usage', usage: { inputTokens: 0, outputTokens: 2 } }]],
    ['usage {"outputTokens":-2}', [{ op: 'echo', text: 'usage {"outputTokens":-2}' }]],
    ['usage {"x":2}', [{ op: 'echo', text: 'usage {"x":2}' }]],
    ['sleep well', [{ op: 'echo', text: 'sleep well' }]],
    ['tool time!', [{ op: 'echo', text: 'tool time!' }]],
    ['hang on', [{ op: 'echo', text: 'hang on' }]],
  ])('reads %j', (text, operations) => {
    expect(parseScript(text)).toEqual(operations);
  });
});
