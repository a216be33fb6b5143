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
    ['sleep well', [{ op: 'echo', text: 'sleep well' }]],
    ['tool time!', [{ op: 'echo', text: 'tool time!' }]],
    ['hang on', [{ op: 'echo', text: 'hang on' }]],
  ])('reads %j', (text, operations) => {
    expect(parseScript(text)).toEqual(operations);
  });
});
