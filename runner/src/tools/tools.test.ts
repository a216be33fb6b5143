import { existsSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { silentLog } from '../lifecycle/log.ts';
import { WaitCutError } from '../lifecycle/wait-cut.ts';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { ToolBench } from '../testing/tool-bench.ts';
import { defineTool, type ToolContext } from './tool.ts';
import { Toolbox, type ToolResult } from './toolbox.ts';

let bench: ToolBench;
let cell: TestCell;
beforeEach(() => {
  bench = new ToolBench();
  ({ cell } = bench);
});
afterEach(() => bench.close());

const use = (name: string, input: unknown, context: Partial<ToolContext> = {}): Promise<ToolResult> => bench.use(name, input, context);
const put = (name: string, content: string | Buffer): void => bench.put(name, content);

describe('the toolbox', () => {
  test('gives each tool to the model with a schema of an object, sorted by name', () => {
    expect(bench.toolbox.names).toEqual([...bench.toolbox.names].sort());
    expect(bench.toolbox.names).toContain('read_file');
    for (const spec of bench.toolbox.specs) {
      expect(spec.inputSchema).toMatchObject({ type: 'object', properties: expect.any(Object) });
      expect(spec.description.length).toBeGreaterThan(40);
    }
  });

  test('holds only what the agent is allowed', async () => {
    const some = new ToolBench({ agent: { tools: ['read_file', 'no_such'] } });
    expect(some.toolbox.names).toEqual(['read_file']);
    await some.close();
  });

  test('refuses a tool that needs approval, as nobody can be asked yet, and cuts a result beyond all measure', async () => {
    const tool = (permission: 'always' | 'approval') =>
      defineTool({
        name: `tool_${permission}`,
        description: 'For this test.',
        input: z.object({}),
        permission,
        repeatable: true,
        run: async () => `<${'x'.repeat(200_000)}>`,
      });
    const two = new Toolbox([tool('always'), tool('approval')], undefined, silentLog);
    expect(await two.run('tool_approval', {}, {} as ToolContext)).toEqual({
      isError: true,
      text: expect.stringContaining('needs the approval of an administrator'),
    });
    const { text } = await two.run('tool_always', {}, {} as ToolContext);
    expect(text).toMatch(/^<x+\n… \(80002 characters left out\) …\nx+>$/);
  });

  test.each([
    ['an unknown tool', 'fly', {}, 'There is no tool named fly'],
    ['input that was not JSON', 'read_file', '{"path": oo', 'not valid JSON'],
    ['input of another shape', 'read_file', { path: 7 }, 'does not fit'],
  ])('tells the model of %s', async (_what, name, input, sentence) => {
    expect(await use(name, input)).toEqual({ isError: true, text: expect.stringContaining(sentence) });
  });
});

describe('a tool that fails', () => {
  const failing = (error: unknown) =>
    new Toolbox(
      [
        defineTool({
          name: 'fails',
          description: 'For this test.',
          input: z.object({}),
          permission: 'always',
          repeatable: true,
          run: () => Promise.reject(error),
        }),
      ],
      undefined,
      silentLog,
    ).run('fails', {}, { signal: new AbortController().signal } as ToolContext);

  test.each([
    ['by a full volume tells the model to make room', Object.assign(new Error('write'), { code: 'ENOSPC' }), 'The volume is full.'],
    ['in a way it should not tells its code alone', Object.assign(new Error('a secret'), { code: 'EIO' }), 'The tool failed: EIO.'],
    ['without a code tells its name alone', new TypeError('a secret'), 'The tool failed: TypeError.'],
  ])('%s', async (_what, error, sentence) => {
    const { isError, text } = await failing(error);
    expect([isError, text.startsWith(sentence), text.includes('secret')]).toEqual([true, true, false]);
  });

  test('because the session has no file any more, or a drain cuts its wait, is no result', async () => {
    const sqlite = Object.assign(new Error('full'), { code: 'SQLITE_FULL' });
    for (const error of [sqlite, new WaitCutError('an answer', 0)]) await expect(failing(error)).rejects.toBe(error);
  });
});

test('only tools that would do their work twice, or report a failure that was none, are not run again by a resumed turn', () => {
  const once = bench.toolbox.names.filter((name) => !bench.toolbox.repeatable(name));
  expect(once).toEqual(['edit_file', 'exec', 'memory_edit', 'memory_write']);
});

describe('read_file', () => {
  test('cuts long lines, and ends a page that would be too long', async () => {
    put('long.txt', `${'x'.repeat(3_000)}\nshort\n`);
    expect((await use('read_file', { path: 'long.txt' })).text).toBe(`     1\t${'x'.repeat(2_000)}… (1000 more characters)\n     2\tshort`);
    put('many.txt', `${'y'.repeat(1_900)}\n`.repeat(80));
    const { text } = await use('read_file', { path: 'many.txt' });
    expect(text.length).toBeLessThan(102_000);
    expect(text).toMatch(/\(lines 1 to 52 of 80; go on with offset 53\)$/);
  });

  test('numbers lines, pages, and says where to go on', async () => {
    put('a.txt', Array.from({ length: 5 }, (_, n) => `line ${n + 1}\n`).join(''));
    expect(await use('read_file', { path: 'a.txt', offset: 2, limit: 2 })).toEqual({
      isError: false,
      text: '     2\tline 2\n     3\tline 3\n(lines 2 to 3 of 5; go on with offset 4)',
    });
    expect((await use('read_file', { path: '/workspace/a.txt', offset: 5 })).text).toBe('     5\tline 5');
    expect((await use('read_file', { path: join(cell.workspace, 'a.txt'), offset: 9 })).text).toContain('there is no line 9');
  });

  test('refuses binary files, folders, pipes and what is not there', async () => {
    put('b.bin', Buffer.from([0x89, 0x50, 0, 1]));
    put('c.bin', Buffer.from([0xff, 0xfe, 0xfd]));
    expect((await use('read_file', { path: 'b.bin' })).text).toContain('binary');
    expect((await use('read_file', { path: 'c.bin' })).text).toContain('binary');
    expect((await use('read_file', { path: '/agent' })).isError).toBe(true);
    expect((await use('read_file', { path: 'nope' })).text).toBe('/workspace/nope does not exist');
    await use('exec', { command: 'mkfifo pipe' });
    expect((await use('read_file', { path: 'pipe' })).text).toContain('not a regular file');
  });

  test('refuses a file beyond all measure, and so do the tools that change or search one', async () => {
    await use('exec', { command: 'truncate -s 3G huge; printf "needle\\377" > invalid' });
    expect(await use('read_file', { path: 'huge' })).toEqual({
      isError: true,
      text: expect.stringContaining('has 3221225472 bytes, more than'),
    });
    expect((await use('edit_file', { path: 'huge', old_text: 'a', new_text: 'b' })).text).toContain('more than');
    expect((await use('send_file', { path: 'huge' })).text).toContain('can be sent');
    expect((await use('edit_file', { path: 'invalid', old_text: 'needle', new_text: 'b' })).text).toContain('binary');
    expect((await use('grep', { pattern: 'needle' })).text).toBe('No line matches.');
  });

  test('reads attachments, which are read-only', async () => {
    mkdirSync(join(cell.in, 'attachments', '4'), { recursive: true });
    writeFileSync(join(cell.in, 'attachments', '4', 'note.txt'), 'hi');
    expect((await use('read_file', { path: join(cell.in, 'attachments/4/note.txt') })).text).toContain('hi');
    expect((await use('write_file', { path: '/attachments/4/note.txt', content: 'x' })).text).toBe('/attachments is read-only');
  });
});

describe('paths', () => {
  test.each([
    '../x',
    '/etc/passwd',
    'a/../../x',
    '/workspace/../x',
    '/workspacex/y',
    '/agent/../../etc/passwd',
    ''.padEnd(5_000, 'x'),
    'a\0b',
  ])('outside or impossible are refused: %j', async (path) => {
    expect((await use('write_file', { path, content: 'x' })).isError).toBe(true);
    expect(existsSync(join(cell.root, 'x'))).toBe(false);
  });

  test('never follow a link, neither as the last component nor on the way', async () => {
    writeFileSync(join(cell.root, 'secret'), 'secret');
    symlinkSync(join(cell.root, 'secret'), join(cell.workspace, 'link'));
    symlinkSync(cell.root, join(cell.workspace, 'way'));
    symlinkSync('.', join(cell.workspace, 'self'));
    for (const path of ['link', 'way/secret', 'self/link']) {
      for (const [name, input] of [
        ['read_file', { path }],
        ['write_file', { path, content: 'x' }],
        ['edit_file', { path, old_text: 'secret', new_text: 'x' }],
        ['send_file', { path }],
      ] as const) {
        const result = await use(name, input);
        expect([name, path, result.isError, result.text]).toEqual([name, path, true, expect.stringContaining('link')]);
      }
    }
    expect((await use('list_dir', { path: 'way' })).isError).toBe(true);
    expect((await use('grep', { pattern: 'secret' })).text).toBe('No line matches.');
    expect((await use('glob', { pattern: '**' })).text).toBe('No file matches.');
    expect(readFileSync(join(cell.root, 'secret'), 'utf8')).toBe('secret');
    expect((await use('list_dir', {})).text).toBe('link@\nself@\nway@');
  });

  test('exchanged for a link while they are walked lead nowhere else', async () => {
    mkdirSync(join(cell.workspace, 'd'));
    writeFileSync(join(cell.root, 'victim'), 'untouched');
    // Another process swaps a folder for a link to outside, as fast as it can, while files are written below it.
    const swap = use('exec', {
      command: `for i in $(seq 1 150); do mv d e; ln -s ${cell.root} d; rm d; mv e d; done`,
      timeout_seconds: 20,
    });
    for (let n = 0; n < 300; n += 1) {
      await use('write_file', { path: 'd/victim', content: 'gotcha' });
      await new Promise((resolve) => setImmediate(resolve));
    }
    await swap;
    expect(readFileSync(join(cell.root, 'victim'), 'utf8')).toBe('untouched');
  });
});

describe('write_file and edit_file', () => {
  test('make folders, keep the mode, and leave nothing behind', async () => {
    expect((await use('write_file', { path: 'x/y/run.sh', content: '#!/bin/sh\n' })).text).toBe(
      'Created /workspace/x/y/run.sh (10 bytes).',
    );
    await use('exec', { command: 'chmod 755 x/y/run.sh' });
    expect((await use('edit_file', { path: 'x/y/run.sh', old_text: 'sh\n', new_text: 'bash\n' })).text).toContain('one occurrence');
    expect(statSync(join(cell.workspace, 'x/y/run.sh')).mode & 0o777).toBe(0o755);
    expect((await use('list_dir', { path: 'x/y' })).text).toBe('run.sh\t12');
  });

  test('an edit wants its text exactly once, and takes new text literally', async () => {
    put('a', 'one two one');
    expect((await use('edit_file', { path: 'a', old_text: 'one', new_text: 'x' })).text).toContain('2 times');
    expect((await use('edit_file', { path: 'a', old_text: 'three', new_text: 'x' })).text).toContain('does not contain');
    expect((await use('edit_file', { path: 'a', old_text: 'two', new_text: '$& $1' })).isError).toBe(false);
    expect((await use('edit_file', { path: 'a', old_text: 'one', new_text: '1', replace_all: true })).text).toContain('2 occurrences');
    expect(readFileSync(join(cell.workspace, 'a'), 'utf8')).toBe('1 $& $1 1');
  });

  test('a write to a hard link does not change what else is linked', async () => {
    writeFileSync(join(cell.home, 'shared'), 'shared');
    linkSync(join(cell.home, 'shared'), join(cell.workspace, 'hard'));
    await use('write_file', { path: 'hard', content: 'mine' });
    expect(readFileSync(join(cell.home, 'shared'), 'utf8')).toBe('shared');
  });
});

describe('glob and grep', () => {
  test('show so much and no more, say so, and let everything else go on meanwhile', async () => {
    for (let n = 0; n < 501; n += 1) put(`f${n}.txt`, `needle ${'x'.repeat(1_000)}\n`);
    expect((await use('glob', { pattern: '*.txt' })).text).toMatch(/\n\(1 more files\)$/);
    let turns = 0;
    const count = setInterval(() => {
      turns += 1;
    }, 0);
    const { text } = await use('grep', { pattern: 'needle' });
    clearInterval(count);
    const lines = text.split('\n');
    expect([lines.length, lines.at(-1)]).toEqual([201, '(more hits follow: narrow the search)']);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(420);
    expect(turns).toBeGreaterThan(0);
    put('f0.txt', `${'x'.repeat(3 * 1024 * 1024)}\nneedle`);
    expect((await use('grep', { pattern: '^needle$' })).text).toBe('No line matches.');
    const stop = new AbortController();
    const searching = use('grep', { pattern: 'no such thing' }, { signal: stop.signal });
    stop.abort(new Error('stop'));
    expect(await searching).toEqual({ isError: true, text: 'Stopped before it ended.' });
  });

  test('find by pattern, newest first, and by text', async () => {
    mkdirSync(join(cell.workspace, 'src/node_modules'), { recursive: true });
    put('src/old.ts', 'const Alpha = 1;\n');
    put('src/new.ts', 'x\nconst alpha = 2;\n');
    put('src/node_modules/skip.ts', 'alpha');
    put('src/bin.ts', Buffer.from([0, 1, 2]));
    utimesSync(join(cell.workspace, 'src/old.ts'), 1, 1);
    utimesSync(join(cell.workspace, 'src/bin.ts'), 2, 2);
    expect((await use('glob', { pattern: '**/*.ts' })).text).toBe('src/new.ts\nsrc/bin.ts\nsrc/old.ts');
    expect((await use('grep', { pattern: 'alpha' })).text).toBe('src/new.ts:2: const alpha = 2;');
    expect((await use('grep', { pattern: 'ALPHA', ignore_case: true, glob: '**/o*.ts' })).text).toBe('src/old.ts:1: const Alpha = 1;');
    expect((await use('grep', { pattern: '(' })).text).toContain('Invalid regular expression');
  });

  test.each([
    ['grep', { pattern: '(a+)+$' }],
    ['glob', { pattern: `${'*a'.repeat(20)}b` }],
  ])('%s tells of a pattern that would hold the process for ever', async (tool, input) => {
    put('a'.repeat(100), `${'a'.repeat(100)}!`);
    const { isError, text } = await use(tool, input);
    expect([isError, text]).toEqual([true, expect.stringContaining('takes too long to match')]);
  });
});

describe('exec', () => {
  test('gives output and exit code, in the workspace', async () => {
    expect(await use('exec', { command: 'pwd; echo oops >&2; exit 3' })).toEqual({
      isError: true,
      text: expect.stringMatching(/workspace\noops\n\(exit code 3\)$/s),
    });
    expect(await use('exec', { command: 'true' })).toEqual({ isError: false, text: '(no output)' });
  });

  test('wants a folder to run in', async () => {
    put('file', '');
    expect((await use('exec', { command: 'true', cwd: 'file' })).text).toBe('file is not a folder.');
    expect((await use('exec', { command: 'true', cwd: '/etc' })).isError).toBe(true);
  });

  test('keeps the beginning and the end of a long output', async () => {
    const { text } = await use('exec', { command: 'echo first; head -c 300000 /dev/zero | tr "\\0" x; echo; echo last' });
    expect(text).toMatch(/^first\n/);
    expect(text).toMatch(/\nlast$/);
    expect(text).toContain('bytes left out');
    expect(text.length).toBeLessThan(40_000);
  });

  test('ends the whole process group when its time is over', async () => {
    const result = await use('exec', { command: '(sleep 30; touch survived) & echo $! > pid; sleep 30', timeout_seconds: 1 });
    expect(result).toEqual({ isError: true, text: expect.stringContaining('stopped after 1 seconds') });
    const pid = readFileSync(join(cell.workspace, 'pid'), 'utf8').trim();
    await until('the child has ended', () => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z'));
  });

  test('takes a longer limit for a job than for what it waits for', async () => {
    const refused = await use('exec', { command: 'true', timeout_seconds: 3_601 });
    expect(refused).toEqual({ isError: true, text: expect.stringContaining('at most 3600 unless it runs in the background') });
    expect((await use('exec', { command: 'true', timeout_seconds: 86_400, background: true })).isError).toBe(false);
  });

  test('does not wait for a background process that holds its output', async () => {
    const before = Date.now();
    expect((await use('exec', { command: 'sleep 170 & echo started' })).text).toBe('started');
    expect(Date.now() - before).toBeLessThan(160_000);
  });

  test('stops when the turn is stopped', async () => {
    const stop = new AbortController();
    const running = use('exec', { command: 'touch begun; sleep 30' }, { signal: stop.signal });
    await until('it runs', () => existsSync(join(cell.workspace, 'begun')));
    stop.abort(new Error('stop'));
    expect(await running).toEqual({ isError: true, text: expect.stringContaining('stopped before it ended') });
  });

  test('sees nothing of the environment of the runner', async () => {
    const { text } = await use('exec', { command: 'env | cut -d= -f1 | sort | tr "\\n" " "' });
    expect(text.split(' ').filter((name) => !['DOVECOTE_COMMAND', 'OLDPWD', 'PWD', 'SHLVL', '_'].includes(name))).toEqual(['HOME', 'PATH']);
  });
});

describe('send_message and send_file', () => {
  test('write their row at once, to a destination or to the chat that is answered', async () => {
    expect((await use('send_message', { text: 'hi' }, { rowId: 't/1/t0' })).text).toBe('Sent as message 1.');
    expect((await use('send_message', { to: 'ops', text: 'hello ops' }, { rowId: 't/1/t1' })).text).toBe('Sent as message 3.');
    expect(cell.sent()).toMatchObject([
      { seq: 1, id: 't/1/t0', kind: 'chat', in_reply_to: 2, destination: null },
      { seq: 3, id: 't/1/t1', kind: 'chat', in_reply_to: null, destination: 'ops' },
    ]);
    expect((await use('send_message', { to: 'nobody', text: 'x' })).text).toBe('There is no destination named nobody. There are: ops.');
  });

  test('write it once, however often the call is run', async () => {
    put('a.txt', 'content');
    for (let n = 0; n < 3; n += 1) {
      expect((await use('send_message', { text: 'hi' }, { rowId: 't/1/t0' })).text).toBe('Sent as message 1.');
      expect((await use('send_file', { path: 'a.txt' }, { rowId: 't/1/t1' })).text).toContain('Sent as message 3');
    }
    expect(cell.sent()).toHaveLength(2);
  });

  test('place the file below its row, under a safe name, before the row is there', async () => {
    put('r.csv', 'a,b');
    await use('send_file', { path: 'r.csv', name: '../../evil\u0000 report.csv', text: 'as asked' });
    const [row] = cell.sent();
    const content = JSON.parse(row?.content ?? '{}') as { path: string; name: string };
    expect(content).toEqual({ path: `outbox/1/${content.name}`, name: content.name, mimeType: 'text/csv', sizeBytes: 3, text: 'as asked' });
    expect(content.name).not.toContain('/');
    expect(readFileSync(join(cell.out, content.path), 'utf8')).toBe('a,b');
    expect(bench.outboxFiles.placed()).toEqual(['1']);
  });

  test('refuse a file that is too large, with the limit', async () => {
    await use('exec', { command: 'truncate -s 26M big' });
    expect((await use('send_file', { path: 'big' })).text).toContain('files of up to 26214400 bytes can be sent');
    expect(cell.sent()).toEqual([]);
  });
});
