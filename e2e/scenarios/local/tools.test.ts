import { existsSync, mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { kill, type LocalChat, type LocalMode } from '../../harness/local-mode.ts';
import { demoAgent, manifest, webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const objects = (spec: Parameters<typeof webAgent>[0]) => ({
  ...webAgent(spec),
  ...demoAgent('other'),
  ...manifest('MessagingGroup', 'other', {
    channelRef: 'web',
    chatId: 'other-chat',
    unknownSenders: 'Public',
    agents: [{ agentGroupRef: 'other', engage: { mode: 'Always' } }],
  }),
  ...manifest('Destination', 'lobby', {
    agentGroupRef: 'assistant',
    localName: 'lobby',
    target: { type: 'channel', channel: { channelRef: 'web', chatId: 'lobby-chat' } },
  }),
});
const stage = localStage({ manifests: objects({}) });
const sleepy = localStage({ manifests: objects({ idleTimeout: '1s' }) });

interface Result {
  readonly type: string;
  readonly text: string;
  readonly isError?: boolean;
}

const call = (name: string, input: object = {}): string => `tool ${name} ${JSON.stringify(input)}`;

let count = 0;
/** Has the demo provider make these calls, one after the other; what each gave back, as it lies in the transcript. */
async function use(house: LocalMode, chat: LocalChat, ...calls: readonly string[]): Promise<readonly Result[]> {
  count += 1;
  const end = `that was number ${count}.`;
  const before = await results(house, chat);
  await chat.ask(`${calls.join('\n')}\nsay ${end}`, end);
  return (await results(house, chat)).slice(before.length);
}

async function results(house: LocalMode, chat: LocalChat): Promise<readonly Result[]> {
  const session = house.files.find(chat.scope);
  if (session === undefined) return [];
  return house.files
    .history(session)
    .flatMap(({ content }) => JSON.parse(content) as Result[])
    .filter(({ type }) => type === 'tool_result');
}

verifies(
  'tool/files-and-shell',
  'an agent works on its files and with its shell, also in the background, and reaches nothing outside of its two folders',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const texts = (
      await use(
        house,
        chat,
        call('write_file', { path: 'src/a.txt', content: 'alpha\nbeta\n' }),
        call('write_file', { path: '/agent/shared.txt', content: 'for all' }),
        call('edit_file', { path: 'src/a.txt', old_text: 'beta', new_text: 'gamma' }),
        call('list_dir', { path: 'src' }),
        call('glob', { pattern: '**/*.txt' }),
        call('grep', { pattern: 'gam+a' }),
        call('exec', { command: 'cat src/a.txt; exit 3' }),
        call('exec', { command: 'sleep 60', timeout_seconds: 1 }),
        call('edit_file', { path: 'src/a.txt', old_text: 'a', new_text: 'x' }),
      )
    ).map(({ text }) => text);
    expect(texts).toEqual([
      'Created /workspace/src/a.txt (11 bytes).',
      'Created /agent/shared.txt (7 bytes).',
      'Replaced one occurrence in /workspace/src/a.txt.',
      'a.txt\t12',
      'src/a.txt',
      'src/a.txt:2: gamma',
      'alpha\ngamma\n(exit code 3)',
      expect.stringContaining('stopped after 1 seconds'),
      expect.stringContaining('contains that text 4 times'),
    ]);

    const session = await chat.session();
    const { workspace } = house.files.paths(session);
    symlinkSync('/etc', join(workspace, 'way-out'));
    const outside = await use(
      house,
      chat,
      ...['/etc/passwd', '../out/outbound.db', 'way-out/passwd', '/workspace/../../x', house.files.paths(session).in].flatMap((path) => [
        call('read_file', { path }),
        call('write_file', { path, content: 'x' }),
      ]),
    );
    expect(outside.filter(({ isError }) => isError !== true)).toEqual([]);

    const [started] = await use(
      house,
      chat,
      call('exec', { command: 'echo one; while [ ! -e go ]; do sleep 0.1; done; echo two', background: true }),
    );
    const job = /job (\S+)\./.exec(started?.text ?? '')?.[1] ?? '';
    const [first] = await use(house, chat, call('job_output', { job, wait_seconds: 30 }));
    expect(first?.text).toBe(`one\n(job ${job}: running; go on with from 4)`);
    writeFileSync(join(workspace, 'go'), '');
    const [second, killed] = await use(house, chat, call('job_output', { job, from: 4, wait_seconds: 30 }), call('job_kill', { job }));
    expect(second?.text).toMatch(/^two\n/);
    expect(killed?.text).toMatch(/is ended|had ended already/);

    // What runs in the background ends with its Pod, and the agent learns it from the next one.
    const [long] = await use(house, chat, call('exec', { command: 'echo $$ > pid; sleep 1000', background: true }));
    const lost = /job (\S+)\./.exec(long?.text ?? '')?.[1] ?? '';
    const runner = await house.runner(session);
    kill(runner, 'SIGTERM');
    await until('the runner has ended', () => (existsSync(`/proc/${runner}`) ? undefined : true));
    const [gone, pid] = await use(
      house,
      chat,
      call('job_output', { job: lost }),
      call('exec', { command: 'ps -p $(cat pid) || kill -0 $(cat pid)' }),
    );
    expect(gone).toMatchObject({ isError: true, text: expect.stringContaining('jobs end with that') });
    expect(pid?.isError).toBe(true);
  },
  PATIENT_MS,
);

verifies(
  'tool/read-numbered',
  'a file is read with line numbers, in pages; a binary one is refused',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const content = Array.from({ length: 30 }, (_, n) => `line ${n + 1}`).join('\n');
    const [, page, rest, beyond, , binary] = await use(
      house,
      chat,
      call('write_file', { path: 'long.txt', content }),
      call('read_file', { path: 'long.txt', offset: 10, limit: 2 }),
      call('read_file', { path: 'long.txt', offset: 29 }),
      call('read_file', { path: 'long.txt', offset: 31 }),
      call('exec', { command: "printf 'a\\377\\376\\000b' > bin" }),
      call('read_file', { path: 'bin' }),
    );
    expect(page?.text).toBe('    10\tline 10\n    11\tline 11\n(lines 10 to 11 of 30; go on with offset 12)');
    expect(rest?.text).toBe('    29\tline 29\n    30\tline 30');
    expect(beyond).toMatchObject({ isError: true, text: expect.stringContaining('there is no line 31') });
    expect(binary).toMatchObject({ isError: true, text: expect.stringContaining('binary') });
  },
  PATIENT_MS,
);

verifies(
  'tool/send-message',
  'what an agent sends is there while its turn goes on, in the chat it answers and at a destination; one that does not exist is refused',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    const lobby = house.chat('web', 'lobby-chat');
    lobby.rows();
    await chat.send(
      [
        call('send_message', { text: 'at once' }),
        call('send_message', { to: 'lobby', text: 'to the lobby' }),
        call('send_message', { to: 'cellar', text: 'nobody reads this' }),
        call('exec', { command: 'while [ ! -e go ]; do sleep 0.1; done', timeout_seconds: 100 }),
        'say the turn is over',
      ].join('\n'),
    );
    await chat.answer('at once');
    await lobby.answer('to the lobby');
    const session = await chat.session();
    expect(house.files.outbound(session, 'SELECT state FROM turns')).toEqual([{ state: 'running' }]);
    writeFileSync(join(house.files.paths(session).workspace, 'go'), '');
    await chat.answer('the turn is over');
    expect((await results(house, chat)).map(({ text }) => text)).toContain('There is no destination named cellar. There are: lobby.');
    expect(chat.answers()).toEqual(['at once', 'the turn is over']);
  },
  PATIENT_MS,
);

verifies(
  'tool/send-file',
  'a file goes out of the workspace and of the home, of any size up to the limit, whole; a larger one, a link and a folder are refused',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await use(house, chat, call('write_file', { path: '/agent/reports/small.csv', content: 'a,b\n' }));
    const session = await chat.session();
    const { workspace, out } = house.files.paths(session);
    const most = 25 * 2 ** 20;
    for (const [name, size] of [
      ['most.bin', most],
      ['over.bin', most + 1],
    ] as const) {
      writeFileSync(join(workspace, name), '');
      truncateSync(join(workspace, name), size);
    }
    symlinkSync('/etc/passwd', join(workspace, 'link'));
    mkdirSync(join(workspace, 'folder'));
    const sent = await use(
      house,
      chat,
      call('send_file', { path: '/agent/reports/small.csv', name: 'report.csv', text: 'as asked' }),
      call('send_file', { path: 'most.bin' }),
      ...['over.bin', 'link', 'folder', '/etc/passwd', 'nothing'].map((path) => call('send_file', { path })),
    );
    expect(sent.map(({ isError }) => isError === true)).toEqual([false, false, true, true, true, true, true]);
    expect(sent[2]?.text).toContain('up to 26214400 bytes can be sent');
    const files = await until('both are delivered', () => {
      const rows = chat.rows().filter(({ kind, state }) => kind === 'file' && state === 'delivered');
      return rows.length === 2
        ? rows.map(({ content }) => JSON.parse(content) as { path: string; name: string; sizeBytes: number })
        : undefined;
    });
    expect(files).toMatchObject([
      { name: 'report.csv', sizeBytes: 4, text: 'as asked' },
      { name: 'most.bin', sizeBytes: most },
    ]);
    for (const { path } of files) expect(existsSync(join(out, path))).toBe(true);
  },
  PATIENT_MS,
);

verifies(
  'tool/memory',
  'two conversations of one agent share its memory: what one wrote the other reads, and a write over it is refused with what stands there',
  async () => {
    const house = stage.it;
    const [one, two] = [house.chat(), house.chat()];
    const [made] = await use(house, one, call('memory_write', { path: 'people/ann.md', content: 'likes tea', etag: 'new' }));
    const etag = /etag (\w+)/.exec(made?.text ?? '')?.[1] ?? '';
    const [listed, read, changed] = await use(
      house,
      two,
      call('memory_read'),
      call('memory_read', { path: 'people/ann.md' }),
      call('memory_edit', { path: 'people/ann.md', old_text: 'tea', new_text: 'coffee' }),
    );
    expect(listed?.text).toContain('people/ann.md\t9');
    expect(read?.text).toBe(`(etag ${etag})\nlikes tea`);
    expect(changed?.isError).toBeUndefined();
    const [conflict] = await use(house, one, call('memory_write', { path: 'people/ann.md', content: 'likes milk', etag }));
    expect(conflict).toMatchObject({ isError: true, text: expect.stringMatching(/was changed since you read it.*likes coffee/s) });
    const now = /with the etag (\w+)/.exec(conflict?.text ?? '')?.[1] ?? '';
    const [merged] = await use(house, one, call('memory_write', { path: 'people/ann.md', content: 'likes coffee, milk', etag: now }));
    expect(merged?.text).toContain('Replaced');
    // Another agent has a memory of its own.
    const [foreign] = await use(house, house.chat('web', 'other-chat'), call('memory_read'));
    expect(foreign?.text).toBe('The memory is empty.');
  },
  PATIENT_MS,
);

verifies(
  'tool/search-messages',
  "an agent finds what was said in all its conversations, asleep or awake, by words, time, conversation, person and role; another agent's stay hidden",
  async () => {
    const house = sleepy.it;
    const [asleep, awake] = [house.chat(), house.chat()];
    await asleep.ask('say the heron nests in the reeds', 'the heron nests in the reeds');
    await house.chat('web', 'other-chat').ask('say a heron of another agent', 'a heron of another agent');
    const session = await asleep.session();
    await until('it sleeps', () => (house.runners().has(session) ? undefined : true));
    await awake.ask('say 苍鹭住在芦苇里', '苍鹭住在芦苇里');
    const own = await awake.session();
    const found = async (input: object): Promise<string[]> => {
      const [result] = await use(house, awake, call('search_messages', input));
      return [...(result?.text ?? '').matchAll(/<found session="([^"]+)"[^>]* role="(\w+)"[^>]*>([^<]*)/g)].map(
        ([, where, role, text]) => `${where === session ? 'asleep' : where === own ? 'awake' : where} ${role}: ${text}`,
      );
    };
    expect(await found({ query: 'NESTS heron', role: 'assistant' })).toEqual(['asleep assistant: the heron nests in the reeds']);
    expect(await found({ query: 'heron reeds', session, role: 'user', limit: 1 })).toEqual([
      'asleep user: say the heron nests in the reeds',
    ]);
    expect(await found({ query: '芦苇', role: 'assistant' })).toEqual(['awake assistant: 苍鹭住在芦苇里']);
    expect(await found({ query: 'another agent', role: 'assistant' })).toEqual([]);
    expect(await found({ query: 'reeds', to: '2020-01-01', from: '2019-01-01' })).toEqual([]);
    expect(await found({ query: 'reeds', contact: 'nobody of that name' })).toEqual([]);
    const [wrong] = await use(house, awake, call('search_messages', { query: 'x', from: 'yesterday' }));
    expect(wrong).toMatchObject({ isError: true, text: expect.stringContaining('from is not a time') });

    expect(house.runners().has(session)).toBe(false);

    // After a restart, with the index lost, everything is found again and nothing twice.
    await house.stop('SIGKILL');
    const [folder = ''] = [join(dirname(dirname(dirname(house.files.paths(session).in))), 'search')];
    expect(existsSync(folder)).toBe(true);
    rmSync(folder, { recursive: true });
    const inbound = new Sqlite(join(house.files.paths(session).in, 'inbound.db'));
    inbound.prepare('UPDATE messages_in SET created_at = created_at - 8 * 86400000').run(); // what the person said, eight days ago
    inbound.close();
    await house.start();
    expect(await found({ query: 'nests heron', session, role: 'user' })).toEqual([]);
    expect(await found({ query: 'nests heron', session, from: '2020-01-01', role: 'user' })).toHaveLength(1);
    expect(await found({ query: 'nests heron', session })).toEqual(['asleep assistant: the heron nests in the reeds']);
  },
  PATIENT_MS,
);

verifies(
  'tool/list-sessions',
  'an agent sees its own conversations, newest activity first, by type and platform, as many as it asks for',
  async () => {
    const house = stage.it;
    const [one, two] = [house.chat(), house.chat()];
    await one.ask('say hello one', 'hello one');
    const [all, chats, slack, first] = await use(
      house,
      two,
      call('list_sessions', { limit: 200 }),
      call('list_sessions', { type: 'chat', platform: 'local', limit: 200 }),
      call('list_sessions', { platform: 'slack' }),
      call('list_sessions', { limit: 1 }),
    );
    const lines = (all?.text ?? '').split('\n');
    expect(lines[0]).toMatch(new RegExp(`^${await two.session()} \\(this one\\), chat, a local chat, `));
    expect(lines[1]).toMatch(new RegExp(`^${await one.session()}, chat, a local chat, .*2 messages, last `));
    const other = house.files.find('web/other-chat', 'other');
    if (other !== undefined) expect(all?.text).not.toContain(other);
    expect(chats?.text.split('\n').length).toBe(lines.length);
    expect(slack?.text).toBe('No conversation matches.');
    expect(first?.text.split('\n')).toEqual([expect.stringContaining(`${await two.session()} (this one)`)]); // its title may have come meanwhile
    expect(all?.text).not.toContain(one.chat);
  },
  PATIENT_MS,
);
