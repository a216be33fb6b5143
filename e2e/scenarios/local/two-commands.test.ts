import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from '@jest/globals';
import { NODE, PROGRAM } from '../../harness/local-mode.ts';
import { PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const folder = mkdtempSync(join(tmpdir(), 'dovecote-demo-'));
/** Relative, as in `make demo`. */
const state = '.local';
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As `make demo` starts it. */
const MANIFESTS = join(PROGRAM, '../../../docs/examples');
const env = { PATH: process.env['PATH'] ?? '', HOME: folder };

function startDemo() {
  const args = [PROGRAM, 'local', '--manifests', MANIFESTS, '--state', state, '--fallback-provider', 'demo', '--port', '0'];
  const child = spawn(NODE, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  let complained = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complained += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const url = until('the address is printed', () => /http:\/\/127\.0\.0\.1:\d+\/#token=\S+/.exec(printed)?.[0]);
  return { child, ended, url, printed: () => printed, complained: () => complained };
}

const say = (message: string): Promise<string> =>
  new Promise((resolve, reject) => {
    execFile(
      NODE,
      [PROGRAM, 'chat', '--state', state, '--manifests', MANIFESTS, '--message', message],
      { cwd: folder, env },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(stderr));
      },
    );
  });

/** Processes that were started with this state folder. */
async function left(): Promise<string> {
  return new Promise((resolve) => execFile('pgrep', ['-fa', folder], (_error, stdout) => resolve(stdout.trim())));
}

verifies(
  'dev/two-commands',
  'make demo: an address is printed, a message is answered, Ctrl-C ends all of it with exit 0, and the second start knows the conversation',
  async () => {
    const first = startDemo();
    const url = new URL(await first.url);
    expect((await fetch(`${url.origin}/chat/`)).status).toBe(200);
    expect(first.printed()).toContain('set ANTHROPIC_API_KEY for the real model');
    expect(await say('remember tangerine')).toContain('I will remember: tangerine');
    first.child.kill('SIGINT');
    expect(await first.ended).toBe(0);
    expect(await left()).toBe('');
    expect(existsSync(join(folder, state, 'runtime.json'))).toBe(false);
    expect(first.complained()).toBe('');

    const second = startDemo();
    await second.url;
    expect(await say('recall')).toContain('I remember: tangerine');
    second.child.kill('SIGINT');
    expect(await second.ended).toBe(0);
    expect(await left()).toBe('');

    // Without a running demo the command starts everything itself, and ends it.
    expect(await say('recall')).toContain('I remember: tangerine');
    expect(await left()).toBe('');
  },
  PATIENT_MS,
);

verifies('dev/two-commands', 'the Makefile has the targets that the README names, and demo is the program that this test starts', () => {
  const makefile = readFileSync(join(PROGRAM, '../../../Makefile'), 'utf8');
  expect(makefile).toMatch(
    /^demo: build .*\n\t@node dist\/operator\/main\.mjs local --manifests docs\/examples --state \.local --fallback-provider demo$/m,
  );
  expect(makefile).toMatch(/^test: build .*\n\t.*node hack\/test\.ts local$/m);
});
