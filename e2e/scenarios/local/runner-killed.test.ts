import { expect } from '@jest/globals';
import { kill } from '../../harness/local-mode.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

verifies(
  'cell/stale-claims-cleared',
  'a claim that a killed runner leaves behind is taken over by the next one, and the message is answered once',
  async () => {
    const { files } = stage.it;
    const chat = stage.it.chat();
    await chat.send('sleep 1s\nsay woken');
    const session = await chat.session();
    await until('the message is claimed', () => files.acks(session)[0]?.state === 'processing');
    const killed = await stage.it.runner(session);
    kill(killed, 'SIGKILL');
    await stage.it.runner(session, killed);
    await chat.answer('woken');
    await until('the message is done', () => files.messages(session)[0]?.status === 'done');
    expect(files.acks(session)).toMatchObject([{ state: 'done', tries: 2 }]);
    expect(files.written(session)).toHaveLength(1);
  },
  PATIENT_MS,
);

verifies(
  'turn/resume-transcript',
  'a runner killed inside a tool: the call is closed as interrupted, not run again, and the turn goes on',
  async () => {
    const { files } = stage.it;
    const chat = stage.it.chat();
    await chat.send('remember teal\ntool exec {"command":"echo run >> runs; kill -9 $PPID"}\nsay after: {result}');
    expect(await chat.answer('after: ')).toMatch(/^(I will remember: teal\n)?after: Interrupted/);
    const session = await chat.session();
    const blocks = files.history(session).flatMap(({ content }) => JSON.parse(content) as { type: string }[]);
    expect(blocks.filter(({ type }) => type === 'tool_use')).toHaveLength(1);
    expect(blocks.filter(({ type }) => type === 'tool_result')).toHaveLength(1);
    await chat.ask('recall', 'I remember: teal');
  },
  PATIENT_MS,
);

verifies(
  'turn/resume-transcript',
  'a new Pod goes on with the conversation, results of tools included',
  async () => {
    const chat = stage.it.chat();
    await chat.ask('remember blue\ntool write_file {"path":"a.txt","content":"kept"}\nsay noted', 'noted');
    await stage.it.restart();
    await chat.insist('tool read_file {"path":"a.txt"}\nsay file: {result}');
    expect(await chat.answer('file:')).toContain('kept');
    expect(await chat.ask('recall', 'I remember')).toBe('I remember: blue');
    const roles = stage.it.files.history(await chat.session()).map(({ role }) => role);
    expect(roles.slice(0, 4)).toEqual(['user', 'assistant', 'tool', 'assistant']);
  },
  PATIENT_MS,
);
