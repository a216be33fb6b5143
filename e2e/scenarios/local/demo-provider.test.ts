import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

/** Every tool that the runner offers, in an order in which each finds what the one before it left. */
const SCRIPT = [
  'tool write_file {"path":"notes/a.txt","content":"alpha\\nbeta\\n"}',
  'tool edit_file {"path":"notes/a.txt","old_text":"beta","new_text":"gamma"}',
  'tool read_file {"path":"notes/a.txt"}',
  'also list_dir {"path":"notes"}',
  'tool glob {"pattern":"**/*.txt"}',
  'tool grep {"pattern":"gam+a"}',
  'tool exec {"command":"wc -l < notes/a.txt"}',
  'tool send_message {"text":"on the way"}',
  'tool send_file {"path":"notes/a.txt"}',
  'say the end',
].join('\n');

verifies(
  'turn/provider-demo',
  'a script in the message drives every tool, without a model, a key or a network, and gives the same each time',
  async () => {
    const house = stage.it;
    const runs = await Promise.all(
      [1, 2].map(async () => {
        const chat = house.chat();
        await chat.ask(SCRIPT, 'the end');
        const session = await chat.session();
        const blocks = house.files
          .history(session)
          .flatMap(({ content }) => JSON.parse(content) as { type: string; name?: string; text?: string; isError?: boolean }[]);
        expect(blocks.filter(({ isError }) => isError === true)).toEqual([]);
        expect(house.files.written(session).map(({ kind }) => kind)).toEqual(['chat', 'file', 'chat']);
        return {
          tools: blocks.filter(({ type }) => type === 'tool_use').map(({ name }) => name),
          results: blocks.filter(({ type, text }) => type === 'tool_result' && /gamma|^\s*2\s*$/m.test(text ?? '')).length,
        };
      }),
    );
    expect(runs[0]?.tools).toEqual([
      'write_file',
      'edit_file',
      'read_file',
      'list_dir',
      'glob',
      'grep',
      'exec',
      'send_message',
      'send_file',
    ]);
    expect(runs[0]?.results).toBeGreaterThanOrEqual(3);
    expect(runs[1]).toEqual(runs[0]);
  },
  PATIENT_MS,
);
