import { afterEach, describe, expect, test } from '@jest/globals';
import { until } from '../testing/runner-process.ts';
import { scripted, TestServers } from './testing/test-servers.ts';

const open: TestServers[] = [];
afterEach(async () => {
  for (const servers of open.splice(0)) await servers.close();
});
function make(...options: ConstructorParameters<typeof TestServers>): TestServers {
  const servers = new TestServers(...options);
  open.push(servers);
  return servers;
}
const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
const PATIENCE_MS = 60_000;

describe('the tools of a server', () => {
  test('have names that every provider takes, and are called by the names that the server gave them', async () => {
    const it = make();
    await it.apply(scripted('house'));
    expect(it.names).toContain('mcp__house__needs_a_cleaner-name_1');
    expect(it.names).toEqual([...it.names].sort());
    expect(await it.use('mcp__house__echo', { a: 1 })).toEqual({ text: 'echo {"a":1}', isError: false });
    expect(await it.use('mcp__house__needs_a_cleaner-name_1')).toEqual({
      isError: true,
      text: 'The MCP server house answered: MCP error -32602: Unknown tool: needs a cleaner-name.1',
    });
    expect(it.servers.missing).toEqual([]);
    const [echo, old] = ['echo', 'old'].map((name) => it.servers.tools.find((tool) => tool.name === `mcp__house__${name}`));
    expect(echo).toMatchObject({ repeatable: true, description: 'does echo', inputSchema: { type: 'object' } });
    expect(old?.repeatable).toBe(false);
  });

  test('are those of its allow-list; a name that it does not have is told to the log', async () => {
    const it = make();
    await it.apply(scripted('house', 'good', { tools: ['echo', 'ecko'] }));
    expect(it.names).toEqual(['mcp__house__echo']);
    expect(it.lines('the settings name tools that an MCP server does not have')).toMatchObject([{ server: 'house', tools: ['ecko'] }]);
  });

  test('that no model could take are left out one by one, each with a log line', async () => {
    const it = make();
    await it.apply(scripted('house', 'broken-tools'));
    expect(it.names).toEqual(['mcp__house__bad_output', 'mcp__house__fine']);
    const refused = it.lines('a tool of an MCP server is left out');
    expect(Object.fromEntries(refused.map(({ tool, fault }) => [tool, fault]))).toEqual({
      array_schema: 'its input schema is not that of an object',
      no_schema: 'its input schema is not that of an object',
      bad_keyword: expect.stringMatching(/^its input schema is no JSON Schema: \/properties\/a/),
      odd_input: 'it has an input named "a b/c", which models do not take',
      one_of: 'its input schema has oneOf at the top, which models do not take',
      huge: 'its input schema is longer than 32768 characters',
      deep: expect.stringContaining('its input schema'),
      fine: 'the server lists it twice',
      '(no name)': expect.stringContaining('it has no name'),
    });
  });

  test('change when the server says so, between two steps', async () => {
    const it = make();
    await it.apply(scripted('house'));
    const before = it.servers.tools;
    expect(it.servers.tools).toBe(before); // the same list, so that the toolbox is not made anew at each step
    expect(await it.use('mcp__house__change')).toEqual({ text: 'changed', isError: false });
    expect(it.names).toContain('mcp__house__new');
    expect(it.names).not.toContain('mcp__house__old');
    expect(await it.use('mcp__house__old')).toMatchObject({
      isError: true,
      text: expect.stringContaining('There is no tool named mcp__house__old'),
    });
  });
});

describe('a server that announces a change at each look', () => {
  test('is looked at once a second', async () => {
    const it = make();
    const began = Date.now();
    await it.apply(scripted('house', 'storm'));
    let listings = 0;
    while (listings < 2) {
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      listings = Number((await it.use('mcp__house__listings')).text);
    }
    expect(listings).toBeLessThanOrEqual(3 + (Date.now() - began) / 1_000);
  });
});

describe('a result', () => {
  test('is text: what is none is named, of a long one the beginning and the end are kept', async () => {
    const it = make();
    await it.apply(scripted('house'));
    expect((await it.use('mcp__house__pictures')).text).toBe(
      [
        'look:',
        '(image, image/png, about 300 bytes: not shown)',
        '(audio, audio/wav, about 30 bytes: not shown)',
        '(resource file:///a: a, text/plain)',
        '(resource file:///b, text/plain)',
        'what b says',
        '(resource file:///c, about 3 bytes: not shown)',
        '(content of a kind that cannot be shown: hologram)',
        '(content of a kind that cannot be shown: unknown)',
        '{\n "temperature": 21\n}',
      ].join('\n'),
    );
    const { text } = await it.use('mcp__house__big');
    expect(text.length).toBeLessThan(70_000);
    expect(text).toMatch(/^begin x+\n… \(\d+ bytes left out\) …\nx+ end$/);
    expect(await it.use('mcp__house__fail')).toEqual({ text: 'the tool says no', isError: true });
  });
});

describe('a call', () => {
  test('that reports progress may take longer than its limit; one that does not is cancelled', async () => {
    const it = make();
    await it.apply(scripted('house', 'good', { timeoutMs: 3_000 }));
    let signs = 0;
    const progressed = (): void => {
      signs += 1;
    };
    expect(await it.use('mcp__house__slow', { times: 9, ms: 400 }, { progressed })).toEqual({ text: 'slow but done', isError: false });
    expect(signs).toBeGreaterThanOrEqual(6); // the turn learns of them: its deadline moves too. The last may come with the answer
    expect(await it.use('mcp__house__hang')).toEqual({
      text: 'The MCP server house did not answer in time. Whether the call had an effect is not known.',
      isError: true,
    });
    expect(JSON.parse((await it.use('mcp__house__cancelled')).text)).toHaveLength(1);
    expect(it.lines('an MCP server is not there')).toEqual([]); // it answered the ping: it lives
  });

  test('that is stopped is cancelled at the server', async () => {
    const it = make();
    await it.apply(scripted('house'));
    const stop = new AbortController();
    await it.use('mcp__house__echo', {}, { signal: stop.signal }); // over when the turn is stopped: nothing to cancel
    const call = it.use('mcp__house__hang', {}, { signal: stop.signal });
    stop.abort(new Error('stopped by the user'));
    expect(await call).toEqual({ text: 'Stopped before it ended.', isError: true });
    expect(JSON.parse((await it.use('mcp__house__cancelled')).text)).toHaveLength(1);
  });

  test('that hangs with its server ends in a restart of the server', async () => {
    const it = make({ limits: { startMs: 60_000, pingMs: 1_000 } });
    await it.apply(scripted('house', 'no-ping', { timeoutMs: 4_000 }));
    expect((await it.use('mcp__house__hang')).text).toContain('did not answer in time');
    await until('the server is given up', () => it.lines('an MCP server is not there').length === 1, PATIENCE_MS);
    expect(it.lines('an MCP server is not there')).toMatchObject([{ reason: 'does not answer any more', server: 'house' }]);
    expect(await it.use('mcp__house__echo')).toMatchObject({ isError: false });
  });

  test('in which the server dies says so with its last words, and the next one finds it up again', async () => {
    const it = make();
    await it.apply(scripted('house'));
    expect(await it.use('mcp__house__die')).toEqual({
      text: 'The MCP server house ended with exit code 7 (its last words: it broke for a reason). Whether the call had an effect is not known.',
      isError: true,
    });
    expect(it.names).toContain('mcp__house__echo'); // kept: the prompt stays the same
    expect(await it.use('mcp__house__echo')).toMatchObject({ text: 'echo {}', isError: false });
    expect(it.lines('an MCP server is up')).toHaveLength(2);
  });

  test.each([
    ['flood', 'was ended because it floods: it sends more than can be read'],
    ['long_line', 'was ended because it wrote a line longer than 16 MiB to its standard output'],
    ['malformed', 'was ended because it wrote something that is no JSON-RPC message: {"jsonrpc": oops}'],
  ])('in which the server sends what nobody can read (%s) ends the server, not the runner', async (tool, reason) => {
    const it = make();
    await it.apply(scripted('house'));
    const [pid = 0] = JSON.parse((await it.use('mcp__house__processes')).text) as number[];
    expect(await it.use(`mcp__house__${tool}`)).toEqual({
      text: `The MCP server house ${reason}. Whether the call had an effect is not known.`,
      isError: true,
    });
    expect(alive(pid)).toBe(false);
    expect(await it.use('mcp__house__echo')).toMatchObject({ isError: false });
  });
});

describe('a server', () => {
  test('that hangs at initialize is ended after its time; the others do not wait for it', async () => {
    const it = make({ limits: { startMs: 6_000, pingMs: 10_000 } });
    it.servers.apply([scripted('asleep', 'hang-initialize'), scripted('house')]);
    await until('the other is up', () => it.names.includes('mcp__house__echo'), PATIENCE_MS);
    await it.servers.settled(PATIENCE_MS, new AbortController().signal);
    expect(it.servers.missing).toEqual(['The MCP server asleep did not answer initialize within 6 s.']);
    expect(it.lines('an MCP server is not there')[0]).toMatchObject({ server: 'asleep', failures: 1 });
  });

  test('holds up whoever waits for it no longer than asked', async () => {
    const it = make();
    it.servers.apply([scripted('asleep', 'hang-initialize')]);
    await it.servers.settled(50, new AbortController().signal);
    expect(it.servers.missing).toEqual(['The MCP server asleep is still starting.']);
  });

  test('that dies at its start is tried again, with the reason for model and log', async () => {
    const it = make();
    await it.apply(scripted('poor', 'die-at-start'));
    const reason = 'ended with exit code 3 (its last words: no licence found)';
    expect(it.servers.missing).toEqual([`The MCP server poor ${reason}.`]);
    await until('it was tried twice', () => it.lines('an MCP server is not there').length >= 2, PATIENCE_MS);
    expect(
      it
        .lines('an MCP server is not there')
        .map(({ reason: why, failures }) => [why, failures])
        .slice(0, 2),
    ).toEqual([
      [reason, 1],
      [reason, 2],
    ]);
  });

  test('that cannot be started says what is wrong', async () => {
    const it = make();
    await it.apply({ ...scripted('none'), command: ['no-such-program', 'x'] });
    expect(it.servers.missing).toEqual(['The MCP server none cannot be started: no-such-program: there is no such program.']);
  });

  test('may greet in plain words, but not talk on', async () => {
    const it = make();
    await it.apply(scripted('polite', 'banner'), scripted('chatty', 'chatter'));
    expect(it.names).toContain('mcp__polite__echo');
    expect(it.servers.missing).toEqual(['The MCP server chatty was ended because it writes text where messages belong: log line 20.']);
  });

  test('is told of the workspace alone, runs in it, and gets no variables but those of commands and its own', async () => {
    const it = make();
    process.env['SECRET_OF_THE_RUNNER'] = 'hidden';
    try {
      await it.apply(scripted('house', 'good', { env: { MODE: 'x' } }));
      const { cwd, env } = JSON.parse((await it.use('mcp__house__surroundings')).text) as { cwd: string; env: Record<string, string> };
      expect(cwd).toBe(it.workspace);
      expect(
        Object.keys(env)
          .filter((name) => !/^(__CF|PWD|SHLVL|_$)/.test(name))
          .sort(),
      ).toEqual(['DOVECOTE_COMMAND', 'HOME', 'MODE', 'PATH']);
    } finally {
      delete process.env['SECRET_OF_THE_RUNNER'];
    }
    const roots = await it.use('mcp__house__ask', { method: 'roots/list' });
    expect(JSON.parse(roots.text)).toEqual({ roots: [{ uri: `file://${it.workspace}`, name: 'workspace' }] });
  });

  test.each(['sampling/createMessage', 'elicitation/create'])('is refused %s', async (method) => {
    const it = make();
    await it.apply(scripted('house'));
    const params = { messages: [], maxTokens: 1, message: 'which?', requestedSchema: { type: 'object', properties: {} } };
    expect(JSON.parse((await it.use('mcp__house__ask', { method, params })).text)).toMatchObject({ code: -32601 });
  });

  test('ends with everything that it started, when it is told to and when it was killed', async () => {
    const it = make();
    await it.apply(scripted('house'));
    const first = JSON.parse((await it.use('mcp__house__processes')).text) as number[];
    process.kill(first[0] ?? 0, 'SIGKILL');
    await until('its child ended with it', () => first.every((pid) => !alive(pid)), PATIENCE_MS);
    const second = JSON.parse((await it.use('mcp__house__processes')).text) as number[];
    expect(second).not.toEqual(first);
    await it.close();
    open.splice(0);
    await until('nothing is left', () => second.every((pid) => !alive(pid)), PATIENCE_MS);
  });
});

describe('new settings in mid-session', () => {
  test('add, remove and restart servers without touching the others', async () => {
    const it = make();
    const pid = async (server: string): Promise<number> =>
      (JSON.parse((await it.use(`mcp__${server}__processes`)).text) as number[])[0] ?? 0;
    await it.apply(scripted('kept'), scripted('gone'), scripted('moved'));
    const before = { kept: await pid('kept'), gone: await pid('gone'), moved: await pid('moved') };
    const hanging = it.use('mcp__gone__hang');
    const surviving = it.use('mcp__kept__slow', { times: 3, ms: 500 });

    await it.apply(scripted('kept', 'good', { timeoutMs: 9_000, tools: ['processes'] }), scripted('moved', 'banner'), scripted('added'));
    await until('the new ones are up', () => ['moved', 'added'].every((name) => it.names.includes(`mcp__${name}__echo`)), PATIENCE_MS);
    expect(await hanging).toMatchObject({ isError: true, text: expect.stringContaining('The MCP server gone was told to end') });
    expect(await surviving).toEqual({ text: 'slow but done', isError: false });
    expect(await pid('kept')).toBe(before.kept);
    expect(it.names).not.toContain('mcp__kept__echo');
    expect(it.names.some((name) => name.startsWith('mcp__gone__'))).toBe(false);
    expect(await pid('moved')).not.toBe(before.moved);
    await until('those that went are gone', () => !alive(before.gone) && !alive(before.moved), PATIENCE_MS);
    await it.apply();
    expect(it.names).toEqual([]);
    await until('all are gone', () => !alive(before.kept), PATIENCE_MS);
  });
});
