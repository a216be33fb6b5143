import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Anthropic from '@anthropic-ai/sdk';
import { type Block, PathJail } from '@dovecote/proto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { request, user } from '../contract.test-suite.ts';
import type { ProviderRequest, TranscriptMessage } from '../provider.ts';
import { modelOf } from './models.ts';
import { toParams } from './to-params.ts';

const PNG = '\x89PNG\r\n\x1a\n';
const MIB = 1024 * 1024;

let folder: string;
let files: PathJail;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'dovecote-params-'));
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  mkdirSync(join(folder, 'attachments'), { recursive: true });
  files = new PathJail([{ alias: '/attachments', dir: join(folder, 'attachments'), writable: false }]);
});

type Params = Anthropic.Beta.MessageCreateParamsStreaming;
const build = (asked: ProviderRequest, name = 'claude-sonnet-5-5', plain = false): Params =>
  toParams(asked, { name, model: modelOf(name), files, plain });

/** The bytes that the cache goes by, in its order, without the marks; open at the end, where the next request goes on. */
function prefix({ tools, system, messages }: Params): string {
  const text = JSON.stringify([tools, system, messages], (key, value: unknown) => (key === 'cache_control' ? undefined : value));
  return text.slice(0, -']]'.length);
}

/** Where the marks in the messages stand: "<message>/<block>". */
function marks({ messages }: Params): readonly string[] {
  return messages.flatMap(({ content }, m) =>
    (content as object[]).flatMap((block, b) => ('cache_control' in block && block.cache_control ? [`${m}/${b}`] : [])),
  );
}

const countMarks = (params: Params): number => JSON.stringify(params).split('cache_control').length - 1;

function attachment(name: string, content: string, mimeType = 'image/png'): Block {
  writeFileSync(join(folder, 'attachments', name), content, 'latin1');
  return { type: 'attachment', path: `/attachments/${name}`, mimeType, name };
}

/** One step of a conversation: what people say, then the answer, with so many calls and their results. */
const step = fc.record({
  says: fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 3 }),
  thinks: fc.boolean(),
  calls: fc.nat(30),
});

function conversation(steps: readonly { says: string[]; thinks: boolean; calls: number }[]): readonly TranscriptMessage[][] {
  const so: TranscriptMessage[] = [];
  return steps.map(({ says, thinks, calls }, n) => {
    so.push(...says.map(user));
    const asked = [...so];
    const ids = Array.from({ length: calls }, (_, call) => `u${n}-${call}`);
    so.push({
      role: 'assistant',
      turn: 't1',
      blocks: [
        ...(thinks ? [{ type: 'thinking', text: '', signature: `s${n}` } as const] : []),
        { type: 'text', text: `answer ${n}` },
        ...ids.map((id): Block => ({ type: 'tool_use', id, name: 'read_file', input: {} })),
      ],
    });
    so.push(
      ...ids.map((toolUseId): TranscriptMessage => ({ role: 'tool', turn: 't1', blocks: [{ type: 'tool_result', toolUseId, text: 'x' }] })),
    );
    return asked;
  });
}

describe('two requests in a row', () => {
  test('share every byte up to the end of the first, but for the marks; and the second reads where the first wrote', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 8 }), (steps) => {
        const requests = conversation(steps).map((messages) => build(request(messages)));
        for (const [n, params] of requests.entries()) {
          expect(countMarks(params)).toBe(n === 0 ? 3 : 4);
          const next = requests[n + 1];
          if (next === undefined) continue;
          expect(prefix(next).startsWith(prefix(params))).toBe(true);
          expect(marks(next)[0]).toBe(marks(params).at(-1));
        }
      }),
      { numRuns: 50 },
    );
  });

  test('share the pictures too, until they become too many: then the older half goes at once', () => {
    const turns = Array.from({ length: 24 }, (_, n): TranscriptMessage[] => [
      { ...user(`picture ${n}`), blocks: [{ type: 'text', text: `picture ${n}` }, attachment(`${n}.png`, `${PNG}${n}`)] },
      { role: 'assistant', turn: 't1', blocks: [{ type: 'text', text: 'Nice.' }] },
    ]);
    const requests = turns.map((_, n) =>
      build(
        request(
          turns
            .slice(0, n + 1)
            .flat()
            .slice(0, -1),
        ),
      ),
    );
    const broken = requests.flatMap((params, n) => (n > 0 && !prefix(params).startsWith(prefix(requests[n - 1] ?? params)) ? [n] : []));
    expect(broken).toEqual([20]);
    const shown = requests.map((params) => JSON.stringify(params).split('base64').length - 1);
    expect(shown.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1));
    expect(shown.slice(20)).toEqual([10, 11, 12, 13]);
    expect(JSON.stringify(requests[20])).toContain('[0.png is not shown: it was shown before and has made room for later ones]');
  });
});

describe('a request', () => {
  test('carries pictures and PDFs by what they are, not by what they are called', () => {
    const blocks = [attachment('a.gif', `${PNG}x`, 'image/gif'), attachment('b.pdf', '%PDF-1.7 x', 'application/pdf')];
    expect(build(request([{ ...user('look'), blocks }])).messages).toMatchObject([
      {
        content: [
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: Buffer.from(`${PNG}x`, 'latin1').toString('base64') } },
          { type: 'document', title: 'b.pdf', source: { type: 'base64', media_type: 'application/pdf' } },
        ],
      },
    ]);
  });

  test('says of each file that it cannot carry why, and tells nothing of what lies outside', () => {
    writeFileSync(join(folder, 'secret.png'), `${PNG}secret`);
    symlinkSync(join(folder, 'secret.png'), join(folder, 'attachments/link.png'));
    const at = (path: string): Block => ({ type: 'attachment', path, mimeType: 'image/png', name: 'x</message>' });
    const blocks = [
      attachment('text.png', 'no picture'),
      attachment('large.png', PNG + 'x'.repeat(4 * MIB)),
      attachment('large.pdf', `%PDF-${'x'.repeat(19 * MIB)}`, 'application/pdf'),
      at('/attachments/gone.png'),
      at('/attachments/link.png'),
      at('/attachments/../secret.png'),
      at('/etc/hostname'),
      at('/attachments'),
    ];
    const { messages } = build(request([{ ...user('look'), blocks }]));
    expect(messages.flatMap(({ content }) => (content as { text: string }[]).map(({ text }) => text))).toEqual([
      '[text.png is not shown: its content is no JPEG, PNG, GIF, WebP or PDF]',
      '[large.png is not shown: it is larger than the 3.8 MB that can be]',
      '[large.pdf is not shown: it is larger than the 18.0 MB that can be]',
      ...Array<string>(5).fill('[x&lt;/message&gt; is not shown: it is not there any more]'),
    ]);
  });

  test('stays below what the API takes, however much the files are together', () => {
    const pdf = (n: number): TranscriptMessage => ({
      ...user('look'),
      blocks: [attachment(`${n}.pdf`, `%PDF-${'x'.repeat(7 * MIB)}`, 'application/pdf')],
    });
    const params = build(request([pdf(1), pdf(2), pdf(3)]));
    expect(JSON.stringify(params).length).toBeLessThan(32_000_000);
    expect(JSON.stringify(params).split('base64').length - 1).toBe(1);
  });

  test('to a model that reads no files names them', () => {
    const blocks = [attachment('a.png', PNG)];
    const { messages, max_tokens } = build(request([{ ...user('look'), blocks }]), 'llama-7');
    expect(messages).toMatchObject([{ content: [{ text: '[a.png is not shown: the model does not take files]' }] }]);
    expect(max_tokens).toBe(8_192);
  });

  test('begins with what a person said, leaves out what the API refuses, and takes ids and thinking of other providers', () => {
    const messages: TranscriptMessage[] = [
      { role: 'assistant', turn: 't0', blocks: [{ type: 'tool_use', id: 'cut off', name: 'glob', input: {} }] },
      { role: 'tool', turn: 't0', blocks: [{ type: 'tool_result', toolUseId: 'cut off', text: 'of a call before' }] },
      user('hello'),
      {
        role: 'assistant',
        turn: 't0',
        blocks: [
          { type: 'thinking', text: 'of the demo' },
          { type: 'opaque', provider: 'other', value: { x: 1 } },
          { type: 'text', text: ' \n' },
          { type: 'tool_use', id: 'demo:1/2', name: 'read_file', input: ['no', 'object'] },
        ],
      },
      { role: 'tool', turn: 't0', blocks: [{ type: 'tool_result', toolUseId: 'demo:1/2', text: '' }] },
      user('and now?'),
    ];
    expect(build(request(messages)).messages).toMatchObject([
      { role: 'user', content: [{ type: 'text', text: '[A tool answered: of a call before]' }, { type: 'text' }] },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'demo_1_2', input: { malformed: ['no', 'object'] } }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'demo_1_2', content: '' }, { type: 'text' }] },
    ]);
  });

  test('for a title is short, thinks as little as it can, and tells of tools in words', () => {
    const messages: TranscriptMessage[] = [
      user('hello'),
      {
        role: 'assistant',
        turn: 't0',
        blocks: [
          { type: 'thinking', text: '', signature: 's' },
          { type: 'tool_use', id: 'u', name: 'glob', input: { a: 1 } },
        ],
      },
      { role: 'tool', turn: 't0', blocks: [{ type: 'tool_result', toolUseId: 'u', text: 'x.txt' }] },
    ];
    const asked = { ...request(messages), tools: [], purpose: 'title', effort: 'max', serverCompaction: true } as const;
    const params = build(asked);
    expect(params).toMatchObject({ max_tokens: 4_000, output_config: { effort: 'low' }, thinking: { type: 'between_tools' } });
    expect(params).not.toHaveProperty('betas');
    expect(countMarks(params)).toBe(0);
    expect(params.messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: [{ type: 'text', text: '[Called glob with {"a":1}]' }] },
      { role: 'user', content: [{ type: 'text', text: '[A tool answered: x.txt]' }] },
    ]);
  });
});
