import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage({
  manifests: webAgent({ idleTimeout: '5s' }),
  flags: ['--limits', JSON.stringify({ delivery: { pollMs: 200 } })],
});

const filesOf = (session: string, path: string): string => `/api/sessions/${session}/files?path=${encodeURIComponent(path)}`;
const state = async (session: string): Promise<string | undefined> =>
  (await stage.it.json<{ sessions: { session: string; state: string }[] }>('/api/sessions')).sessions.find((one) => one.session === session)
    ?.state;

verifies(
  'pod/container-service',
  'files are put into an awake session and had from it, by the command line and over HTTP, with etags that keep one writer from undoing another',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.ask('tool write_file {"path":"made/by-agent.txt","content":"of the agent"}\nsay written', 'written');
    const session = await chat.session();
    await house.runner(session);
    const local = join(house.folder, 'local.bin');
    const data = randomBytes(5_000_000);
    writeFileSync(local, data);
    const put = await house.command('files', 'put', session, 'made/from-outside.bin', '--file', local, '--output', 'json');
    expect([put.code, JSON.parse(put.stdout)]).toMatchObject([
      0,
      { path: '/workspace/made/from-outside.bin', sizeBytes: data.length, type: 'file' },
    ]);
    // The agent sees it at once.
    await chat.send('tool exec {"command":"sha256sum made/from-outside.bin"}\nsay sum {result}');
    expect(await chat.answer('sum')).toContain(createHash('sha256').update(data).digest('hex'));
    const back = join(house.folder, 'back.bin');
    expect(await house.command('files', 'get', session, 'made/from-outside.bin', '--file', back)).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(back).equals(data)).toBe(true);
    expect((await house.command('files', 'get', session, '/workspace/made/by-agent.txt')).stdout).toBe('of the agent');
    const list = await house.command('files', 'ls', session, 'made');
    expect(list.stdout.split('\n').map((line) => line.split(/\s+/).slice(0, 3))).toMatchObject([
      ['NAME', 'TYPE', 'BYTES'],
      ['by-agent.txt', 'file', '12'],
      ['from-outside.bin', 'file', '5000000'],
      [''],
    ]);

    const got = await house.request(filesOf(session, 'made/by-agent.txt'));
    const etag = got.headers.get('etag') ?? '';
    expect([got.status, got.headers.get('content-security-policy'), await got.text()]).toEqual([200, 'sandbox', 'of the agent']);
    const change = (headers: Record<string, string>): Promise<Response> =>
      house.request(filesOf(session, 'made/by-agent.txt'), { method: 'PUT', body: 'of mine', headers });
    expect((await change({ 'if-none-match': '*' })).status).toBe(412);
    expect((await change({ 'if-match': etag })).status).toBe(200);
    expect((await change({ 'if-match': etag })).status).toBe(412);
    expect((await house.request(filesOf(session, 'made'))).status).toBe(400);
    expect((await house.request(filesOf(session, 'nothing'))).status).toBe(404);
    expect((await house.request(filesOf(session, '/etc/passwd'))).status).toBe(403);
    expect((await fetch(`${house.url}${filesOf(session, 'made/by-agent.txt')}`)).status).toBe(401);
    const unknown = await house.command('files', 'ls', 'nobody-here');
    expect([unknown.code, unknown.stderr]).toEqual([1, 'there is no session nobody-here\n']);
    expect((await house.request(filesOf(session, 'made'), { method: 'DELETE' })).status).toBe(400);
    expect((await house.request(`${filesOf(session, 'made')}&recursive=true`, { method: 'DELETE' })).status).toBe(200);
    expect(existsSync(join(house.files.paths(session).workspace, 'made'))).toBe(false);
  },
  PATIENT_MS,
);

verifies(
  'pod/asleep-files',
  'while a session sleeps its files are read and written all the same, nobody wakes, and its agent finds them when it does',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.ask('tool write_file {"path":"list.txt","content":"before"}\nsay written', 'written');
    const session = await chat.session();
    await until('it sleeps', async () => (await state(session)) === 'Asleep' && !house.runners().has(session));
    const local = join(house.folder, 'asleep.txt');
    writeFileSync(local, 'while it slept');
    expect((await house.command('files', 'get', session, 'list.txt')).stdout).toBe('before');
    expect(await house.command('files', 'put', session, 'list.txt', '--file', local)).toMatchObject({
      code: 0,
      stdout: '/workspace/list.txt: 14 bytes\n',
    });
    expect((await house.command('files', 'put', session, '/agent/for-all.txt', '--file', local)).code).toBe(0);
    symlinkSync('/etc', join(house.files.paths(session).workspace, 'out'));
    expect((await house.request(filesOf(session, 'out/passwd'))).status).toBe(403);
    const { entries } = await house.json<{ entries: { path: string; type: string }[] }>(
      `/api/sessions/${session}/files/list?path=/workspace`,
    );
    expect(entries.map(({ path, type }) => [path, type])).toEqual([
      ['/workspace/list.txt', 'file'],
      ['/workspace/out', 'link'],
    ]);
    expect([await state(session), house.runners().has(session)]).toEqual(['Asleep', false]);
    await chat.send('tool exec {"command":"cat list.txt $AGENT_HOME/for-all.txt"}\nsay found {result}');
    expect(await chat.answer('found')).toContain('while it sleptwhile it slept');
    expect(house.complaints()).toEqual([]);
  },
  PATIENT_MS,
);
