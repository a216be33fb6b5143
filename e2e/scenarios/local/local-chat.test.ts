import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect } from '@jest/globals';
import { NODE, PROGRAM } from '../../harness/local-mode.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();
/** Gives a program a terminal. */
const TERMINAL = '/usr/bin/script';

verifies(
  'chan/local',
  'the page is served with a strict policy, needs its token, and sees the conversation from behind the last event it knows',
  async () => {
    const house = stage.it;
    const page = await fetch(`${house.url}/`);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(await page.text()).toContain('<');
    const path = '/api/channels/web/chats/page';
    expect((await fetch(`${house.url}${path}/messages`, { method: 'POST', body: '{}' })).status).toBe(401);
    expect((await house.request(`${path}/messages`, { method: 'POST', body: '{"id":"x y","text":""}' })).status).toBe(400);
    expect((await house.request('/api/channels/nobody/chats/c/messages', { method: 'POST', body: '{"id":"a","text":"b"}' })).status).toBe(
      404,
    );
    const chat = house.chat('web', 'page');
    await chat.ask('say first', 'first');
    // A second page that comes later sees the same; another chat sees nothing of it.
    const other = house.chat('web', 'page');
    expect(await other.answer('first')).toBe('first');
    const stranger = house.chat('web', 'elsewhere');
    await stranger.ask('say mine', 'mine');
    expect(stranger.answers()).toEqual(['mine']);
  },
  PATIENT_MS,
);

verifies(
  'chan/local',
  'a conversation in the terminal: lines in, answers out, the end of input ends it',
  async () => {
    const house = stage.it;
    const child = spawn(NODE, [PROGRAM, 'chat', '--state', house.state, '--chat', 'tty'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let printed = '';
    const answered = (text: string): Promise<void> =>
      new Promise((resolve) => {
        const look = (): void => {
          if (printed.includes(text)) resolve();
        };
        child.stdout.on('data', look);
        look();
      });
    child.stdout.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
    });
    child.stdin.write('say one\n');
    await answered('one');
    child.stdin.write('say two\n');
    await answered('two');
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    child.stdin.end();
    expect(await ended).toBe(0);
  },
  PATIENT_MS,
);

if (existsSync(TERMINAL))
  verifies(
    'chan/local',
    'in a terminal the answer grows while it is written',
    async () => {
      const house = stage.it;
      const command = `stty -echo; ${NODE} ${PROGRAM} chat --state ${house.state} --chat pty`;
      const child = spawn(TERMINAL, ['-qfec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
      let printed = '';
      let early = '';
      child.stdout.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
        if (printed.includes('w5') && early === '') early = printed;
      });
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      await until('the prompt', () => printed.includes('> '));
      child.stdin.write(`stream slowly ${Array.from({ length: 40 }, (_, n) => `w${n}`).join(' ')}\n`);
      await until('the whole answer', () => /w39\r\n> $/.test(printed));
      expect(early).not.toContain('w39');
      child.stdin.write('\u0004'); // the end of input, as a terminal says it
      await ended;
    },
    PATIENT_MS,
  );

verifies(
  'chan/local',
  'files go up and down by the chat that they belong to, and by no other; what no upload answered is refused',
  async () => {
    const house = stage.it;
    const chat = house.chat('web', 'files');
    const path = '/api/channels/web/chats/files';
    const put = (body: Buffer): Promise<Response> =>
      house.request(`${path}/uploads?name=${encodeURIComponent('a b.txt')}&type=text/plain`, {
        method: 'PUT',
        headers: { 'content-type': 'application/octet-stream' },
        body: new Uint8Array(body),
      });
    const { staged } = (await (await put(Buffer.from('hello file'))).json()) as { staged: string };
    const file = { name: 'a b.txt', mimeType: 'text/plain', sizeBytes: 10, staged };
    const post = (body: object): Promise<Response> => house.request(`${path}/messages`, { method: 'POST', body: JSON.stringify(body) });
    expect((await post({ id: 'm1', text: 'say got it', files: [file] })).status).toBe(200);
    await chat.answer('got it');
    const [row] = chat.rows();
    const at = `${row?.session}/${row?.seq}/0`;
    const download = await house.request(`${path}/files/${at}`);
    expect(await download.text()).toBe('hello file');
    // Shown by no browser as a page of ours, whatever it says that it is.
    expect(Object.fromEntries(download.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': "attachment; filename*=UTF-8''a%20b.txt",
      'content-security-policy': "default-src 'none'; sandbox",
    });
    expect((await house.request(`/api/channels/web/chats/other/files/${at}`)).status).toBe(404);
    expect((await fetch(`${house.url}${path}/files/${at}`)).status).toBe(401);
    expect((await house.request(`${path}/files/${row?.session}/${row?.seq}/1`)).status).toBe(404);
    expect((await house.request(`${path}/files/..%2f..%2fetc/2/0`)).status).toBe(404);
    // The limit holds for those who do not say the size, too.
    const tooLarge = await put(Buffer.alloc(25 * 2 ** 20 + 1)).catch(() => undefined);
    expect(tooLarge?.status ?? 413).toBe(413);
    const forged = Buffer.from('[{"agentGroup":"assistant","shard":"0","stagedId":"../../in"}]').toString('base64url');
    const answer = await post({ id: 'm2', text: 'say no', files: [{ ...file, staged: forged }] });
    expect(((await answer.json()) as { refused?: string[] }).refused?.[0]).toContain('names no staged attachment');
    expect((await post({ id: 'm3', text: 'say no', files: [{ ...file, staged: 'bm8' }] })).status).toBe(400);
    expect((await post({ id: 'm4', text: '', files: [] })).status).toBe(400);
    // The same file for the same message again is the same message.
    expect((await post({ id: 'm1', text: 'say got it', files: [file] })).status).toBe(200);
    expect(chat.answers()).toEqual(['got it']);
  },
  PATIENT_MS,
);
