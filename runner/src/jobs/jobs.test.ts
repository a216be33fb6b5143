import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../lifecycle/clock.ts';
import { startHeartbeat } from '../lifecycle/heartbeat.ts';
import { silentLog } from '../lifecycle/log.ts';
import { systemRandom } from '../lifecycle/random.ts';
import { until } from '../testing/runner-process.ts';
import { ToolBench } from '../testing/tool-bench.ts';
import { Jobs } from './jobs.ts';
import { OutputRing } from './output-ring.ts';

let bench: ToolBench;
beforeEach(() => {
  bench = new ToolBench();
});
afterEach(() => bench.close());

const inWorkspace = (name: string): string => join(bench.cell.workspace, name);
const pidIn = (name: string): number => Number(readFileSync(inWorkspace(name), 'utf8'));
const hasEnded = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z');
  } catch {
    return true;
  }
};
async function background(command: string): Promise<string> {
  const { text } = await bench.use('exec', { command, background: true });
  return /job (\S+)\./.exec(text)?.[1] ?? text;
}

describe('a background job', () => {
  test('is started by exec, polled from where the last look ended, and listed', async () => {
    const job = await background('echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 3');
    const first = (await bench.use('job_output', { job, wait_seconds: 60 })).text;
    expect(first).toBe(`one\n(job ${job}: running; go on with from 4)`);
    expect((await bench.use('job_output', { job, from: 4 })).text).toBe(`(no new output)\n(job ${job}: running; go on with from 4)`);
    expect((await bench.use('job_output', {})).text).toMatch(new RegExp(`^${job}\\trunning\\techo one`));
    bench.put('go', '');
    await until('it has ended', () => bench.jobs.get(job)?.end !== undefined);
    expect((await bench.use('job_output', { job, from: 4 })).text).toBe(`two\n(job ${job}: ended, exit code 3; go on with from 8)`);
  });

  test('is asked to end, and ended by force when it ignores that, with what it started', async () => {
    const polite = await background('trap "echo bye; exit 0" TERM; touch ready; while :; do sleep 0.05; done');
    await until('it runs', () => existsSync(inWorkspace('ready')));
    expect((await bench.use('job_kill', { job: polite })).text).toBe(`Job ${polite} is ended (exit code 0).`);
    expect((await bench.use('job_output', { job: polite })).text).toContain('bye');

    const deaf = await background('trap "" TERM; (trap "" TERM; echo $$ > leader; sleep 1000) & echo $! > child; wait; sleep 1000');
    await until('it runs', () => existsSync(inWorkspace('child')) && readFileSync(inWorkspace('child'), 'utf8') !== '');
    expect((await bench.use('job_kill', { job: deaf })).text).toBe(`Job ${deaf} is ended (ended by SIGKILL).`);
    await until('its child has ended', () => hasEnded(pidIn('child')));
    expect((await bench.use('job_kill', { job: deaf })).text).toContain('had ended already');
  });

  test('of an earlier process is told from one that never was', async () => {
    expect((await bench.use('job_output', { job: 'zzzz-1' })).text).toContain('jobs end with that');
    expect((await bench.use('job_kill', { job: 'nonsense' })).text).toBe('There is no job nonsense. There are none.');
  });

  test('ends with its runner', async () => {
    await background('echo $$ > pid; sleep 1000');
    await until('it runs', () => existsSync(inWorkspace('pid')) && readFileSync(inWorkspace('pid'), 'utf8') !== '');
    await bench.jobs.close();
    expect(hasEnded(pidIn('pid'))).toBe(true);
  });

  test('that ended long ago is forgotten for newer ones, not one that runs', async () => {
    const first = await background('sleep 1000');
    const ended: string[] = [];
    for (let n = 0; n < 52; n += 1) {
      const job = await background('true');
      await bench.jobs.get(job)?.over;
      ended.push(job);
    }
    expect(bench.jobs.list().map(({ id }) => id)).toEqual([first, ...ended.slice(-47)]);
  });

  test('is refused beyond the number that may run', async () => {
    for (let n = 0; n < 16; n += 1) await background('sleep 1000');
    expect((await bench.use('exec', { command: 'true', background: true })).text).toContain('16 jobs run already');
    for (const job of bench.jobs.list()) job.stop();
    await Promise.all(bench.jobs.list().map((job) => job.over));
    expect((await bench.use('exec', { command: 'true', background: true })).isError).toBe(false);
  });
});

describe('a command', () => {
  test('that leaves its process group as a daemon does ends all the same', async () => {
    const { text } = await bench.use('exec', {
      command: 'setsid sh -c "echo \\$\\$ > daemon; sleep 1000" & while [ ! -s daemon ]; do sleep 0.02; done; echo started',
    });
    expect(text).toBe('started');
    await until('the daemon has ended', () => hasEnded(pidIn('daemon')));
  });

  test('that prints a gigabyte costs little memory, and the heartbeat goes on meanwhile', async () => {
    const heartbeat = join(bench.cell.out, 'heartbeat');
    const beats = new Set<number>();
    const stop = startHeartbeat(heartbeat, { ...systemClock, every: (_ms, beat) => systemClock.every(20, beat) }, silentLog);
    const watch = setInterval(() => beats.add(statSync(heartbeat).mtimeMs), 10);
    const before = process.memoryUsage().rss;
    let most = before;
    const measure = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);
    const { text } = await bench.use('exec', {
      command: 'echo first; head -c 1000000000 /dev/zero | tr "\\0" x; echo; echo last',
      timeout_seconds: 500,
    });
    for (const timer of [watch, measure]) clearInterval(timer);
    stop();
    expect(text).toMatch(/^first\n/);
    expect(text).toMatch(/\nlast$/);
    expect(text).toContain(`${1_000_000_000 + 'first\n\nlast\n'.length - 32 * 1024} bytes left out`);
    expect(most - before).toBeLessThan(200 * 1024 * 1024);
    expect(beats.size).toBeGreaterThan(5);
  }, 600_000);

  test('reaches the proxy by its environment when its agent may reach any host, with the token of that moment', async () => {
    const tokenFile = join(bench.cell.root, 'token');
    bench.put('../token', 'first token\n');
    const env = async (hosts: readonly string[]): Promise<string> => {
      const other = new ToolBench({ agent: { allowedHosts: hosts }, proxy: { url: 'http://127.0.0.1:7072', tokenFile } });
      const { text } = await other.use('exec', { command: 'env | grep -i proxy | sort' });
      await other.close();
      return text;
    };
    expect(await env([])).not.toContain('127.0.0.1');
    const url = 'http://session:first%20token@127.0.0.1:7072';
    expect((await env(['example.com'])).split('\n').sort()).toEqual(
      [`HTTPS_PROXY=${url}`, `HTTP_PROXY=${url}`, 'NO_PROXY=', `http_proxy=${url}`, `https_proxy=${url}`, 'no_proxy='].sort(),
    );
    bench.put('../token', 'second');
    expect(await env(['example.com'])).toContain('session:second@');
  });
});

describe('jobs for other callers', () => {
  test('are held up by a reader that wants all of their output, also when they have ended long before it has read', async () => {
    const jobs = new Jobs({ clock: systemClock, random: systemRandom });
    const bytes = 600_000;
    const job = await jobs.start({
      command: ['sh', '-c', `head -c ${bytes} /dev/zero`],
      cwd: bench.cell.workspace,
      env: { PATH: process.env['PATH'] ?? '' },
      title: 'test',
    });
    let at = 0;
    let missed = 0;
    for await (const chunk of job.follow(0, new AbortController().signal, true)) {
      missed += chunk.at - at;
      at = chunk.at + chunk.data.length;
      await systemClock.sleep(300, new AbortController().signal);
    }
    expect([at, missed, job.end?.code]).toEqual([bytes, 0, 0]);
    await jobs.close();
  });

  test('are fed, followed from any byte, and keep only the newest of much output', async () => {
    const jobs = new Jobs({ clock: systemClock, random: systemRandom });
    const base = { cwd: bench.cell.workspace, env: { PATH: process.env['PATH'] ?? '' }, title: 'test' };
    const cat = await jobs.start({ ...base, command: ['sh', '-c', 'cat; echo err >&2'] });
    cat.process.stdin.write('hello world');
    cat.process.endInput();
    const heard: string[] = [];
    for await (const { stream, data } of cat.follow(6, new AbortController().signal)) heard.push(`${stream}:${data}`);
    expect(heard).toEqual(['stdout:world', 'stderr:err\n']);
    await expect(jobs.start({ ...base, command: ['/no/such/program'] })).rejects.toMatchObject({ code: 'ENOENT' });
    await jobs.close();

    const ring = new OutputRing(10);
    for (const text of ['abcd', 'efgh', 'ijkl', 'm']) ring.add('stdout', Buffer.from(text));
    expect([ring.total, ring.oldest, ring.from(0).map(({ data, at }) => `${at}:${data}`)]).toEqual([
      13,
      3,
      ['3:d', '4:efgh', '8:ijkl', '12:m'],
    ]);
    ring.add('stderr', Buffer.from('0123456789abcdef'));
    expect(ring.from(0).map(({ stream, data, at }) => `${stream} ${at}:${data}`)).toEqual(['stderr 19:6789abcdef']);
  });
});
