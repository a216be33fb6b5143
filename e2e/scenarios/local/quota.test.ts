import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { webAgent } from '../../harness/objects.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage({
  manifests: webAgent({ limits: { storage: '4Mi', agentStorage: '4Mi' } }),
  flags: ['--limits', JSON.stringify({ delivery: { measureMs: 300 } })],
});

verifies(
  'cell/quota',
  'a session that stores too much is drained and told, the others go on; with room again it goes on by itself',
  async () => {
    const house = stage.it;
    const [greedy, modest] = [house.chat(), house.chat()];
    await modest.ask('say modest', 'modest');
    await greedy.send('tool exec {"command":"head -c 8388608 /dev/zero > fat"}\nsay filled');
    const notice = await greedy.answer('used up its storage');
    expect(notice).toMatch(/4194304/);
    const session = await greedy.session();
    await until('its runner is gone', () => !house.runners().has(session));
    await greedy.send('say waiting');
    await greedy.answer('kept, but cannot be answered now');
    await modest.ask('say still here', 'still here');
    rmSync(join(house.files.paths(session).workspace, 'fat'));
    await greedy.answer('waiting');
  },
  PATIENT_MS,
);

verifies(
  'cell/quota',
  'the folder that all sessions of an agent share has a limit too',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.ask('say before', 'before');
    const [agent = ''] = readdirSync(join(house.files.root, 'agents'));
    const fat = join(house.files.root, 'agents', agent, 'home/fat');
    writeFileSync(fat, Buffer.alloc(5 * 2 ** 20));
    await chat.answer("agent's shared folder");
    rmSync(fat);
    await chat.send('say after');
    await chat.answer(/^after$/);
  },
  PATIENT_MS,
);
