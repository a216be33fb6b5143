import { spawn } from 'node:child_process';
import { expect } from '@jest/globals';
import { NODE, PROGRAM } from '../../harness/local-mode.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

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
