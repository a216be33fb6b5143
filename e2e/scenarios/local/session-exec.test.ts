import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterEach, expect } from '@jest/globals';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { NODE, PROGRAM } from '../../harness/local-mode.ts';
import { demoAgent, manifest, webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const EVERYTHING = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
const mcpServers = [{ name: 'everything', type: 'stdio' as const, stdio: { command: [NODE, EVERYTHING, 'stdio'] } }];
const stage = localStage({
  manifests: {
    ...webAgent({ mcpServers }),
    ...demoAgent('napper', { idleTimeout: '3s' }),
    ...manifest('Channel', 'naps', { type: 'local' }),
    ...manifest('MessagingGroup', 'naps', {
      channelRef: 'naps',
      chatClass: 'Any',
      unknownSenders: 'Public',
      agents: [{ agentGroupRef: 'napper', engage: { mode: 'Always' } }],
    }),
  },
  flags: ['--limits', JSON.stringify({ delivery: { pollMs: 200 } })],
});

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** `dovecote …` with its three streams in hand. */
function dovecote(...args: readonly string[]) {
  const [command = '', ...rest] = args;
  const child = spawn(NODE, [PROGRAM, command, '--state', stage.it.state, ...rest], { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, code, stdout: () => stdout, stderr: () => stderr };
}
/** A session that is awake: its chat has just been answered. */
async function awake(channel = 'web'): Promise<string> {
  const chat = stage.it.chat(channel);
  await chat.ask('say here', 'here');
  const session = await chat.session();
  await stage.it.runner(session);
  return session;
}
const ended = (pid: number): boolean => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');

verifies(
  'pod/exec',
  'a person runs commands in a Pod: input, exit code, a terminal, a job that is left and found again',
  async () => {
    const session = await awake();
    const piped = dovecote('exec', session, '--env', 'A=b', '--', 'sh', '-c', 'read x; echo "got $x $A"; pwd >&2; exit 7');
    piped.child.stdin.end('it\n');
    expect([await piped.code, piped.stdout(), piped.stderr()]).toEqual([7, 'got it b\n', `${stage.it.files.paths(session).workspace}\n`]);

    const terminal = dovecote('exec', session, '--tty', '--', 'sh', '-c', 'test -t 0 && stty size; read x; echo "got $x"; kill -TERM $$');
    terminal.child.stdin.write('typed\n');
    expect([await terminal.code, terminal.stdout()]).toEqual([143, expect.stringContaining('got typed')]);
    expect(terminal.stdout()).toContain('24 80');

    const job = dovecote(
      'exec',
      session,
      '--detach',
      '--',
      'sh',
      '-c',
      'echo one; while [ ! -e go ]; do sleep 0.1; done; echo two; exit 3',
    );
    await until('it has begun', () => job.stdout() === 'one\n');
    const id = /job (\S+)/.exec(job.stderr())?.[1] ?? '';
    job.child.kill('SIGKILL');
    await job.code;
    expect(await stage.it.command('files', 'put', session, 'go', '--file', '/dev/null')).toMatchObject({ code: 0 });
    const again = dovecote('exec', session, '--job', id);
    expect([await again.code, again.stdout()]).toEqual([3, 'one\ntwo\n']);

    const nothing = dovecote('exec', session, '--', 'no-such-program');
    expect([await nothing.code, nothing.stderr()]).toEqual([1, 'cannot run no-such-program: ENOENT\n']);
    const stranger = dovecote('exec', session, '--server', stage.it.url, '--token', 'wrong', '--', 'true');
    expect([await stranger.code, stranger.stderr()]).toEqual([1, expect.stringContaining('does the token allow')]);
  },
  PATIENT_MS,
);

verifies(
  'pod/exec',
  'who works in a Pod keeps it awake, and leaving ends the work: then it sleeps, and says that a message would wake it',
  async () => {
    const talk = ['--', 'sh', '-c', 'echo $$; for i in 1 2 3 4 5; do sleep 1; echo tick; done; sleep 1000'];
    let [session, pid, busy] = ['', 0, dovecote('--help')];
    // Refused it begins anew: on a slow machine a command may take longer to start than this agent may be idle.
    while (pid === 0) {
      session = await awake('naps');
      busy = dovecote('exec', session, ...talk);
      const { child, stdout } = busy;
      await until('it runs, or is refused', () => stdout().includes('\n') || child.exitCode !== null);
      pid = Number(stdout().split('\n')[0]);
    }
    // Longer than it may be idle: it talks all the time.
    await until('it is still there', () => busy.stdout().match(/tick/g)?.length === 5);
    expect(ended(pid)).toBe(false);
    busy.child.kill('SIGINT');
    expect(await busy.code).toBe(130);
    await until('it has ended with its caller', () => ended(pid));
    await until('it sleeps', () => !stage.it.runners().has(session));
    const asleep = dovecote('exec', session, '--', 'true');
    expect([await asleep.code, asleep.stderr()]).toEqual([1, expect.stringContaining('a message to it wakes it')]);
  },
  PATIENT_MS,
);

verifies(
  'pod/mcp-stdio-session',
  'an MCP client anywhere starts `dovecote mcp` as its server, and speaks with one of the agent in the Pod; when the Pod dies its calls end',
  async () => {
    const session = await awake();
    const open = async (...server: string[]): Promise<Client> => {
      const client = new Client({ name: 'outside', version: '1' });
      const args = [PROGRAM, 'mcp', '--state', stage.it.state, session, ...server];
      await client.connect(new StdioClientTransport({ command: NODE, args, stderr: 'pipe' }));
      return client;
    };
    const client = await open('everything');
    expect(client.getServerVersion()?.name).toContain('everything');
    expect((await client.listTools()).tools.length).toBeGreaterThan(5);
    const answer = await client.callTool({ name: 'echo', arguments: { message: 'across the wall' } });
    expect(JSON.stringify(answer)).toContain('across the wall');
    const other = await open('-', '--', NODE, EVERYTHING, 'stdio');
    await other.ping();
    await other.close();

    const slow = client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 100, steps: 2 } });
    const failure = slow.then(
      () => 'answered',
      (e: Error) => e.message,
    );
    await client.ping();
    process.kill(await stage.it.runner(session), 'SIGKILL');
    expect(await failure).toMatch(/closed/i);
  },
  PATIENT_MS,
);
